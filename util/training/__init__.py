"""What a training run is made of: its progress, its saves, its health, how it goes on."""
