"""Several processes that train or test one run together, as torchrun starts them."""
