#!/usr/bin/env bash
# Test saved epochs of a run at the same time, one in each job of an array:
#
#   sbatch --array=50,100,150,200 scripts/slurm/test_epochs.sh maps --dataroot ./datasets/maps
#
# First comes the name of the run, then options of test.py. Results are in results/NAME/test_EPOCH.
#SBATCH --job-name=test
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=01:00:00
set -euo pipefail
name="${1:?"the name of a run, then options of test.py"}"
shift
# source .venv/bin/activate

export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}" # srun does not ask sbatch, since Slurm 22.05
srun python test.py --name "$name" --epoch "$SLURM_ARRAY_TASK_ID" "$@"
