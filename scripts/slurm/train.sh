#!/usr/bin/env bash
# Train on all GPUs of one machine or several, as a Slurm job that goes on by itself:
#
#   sbatch scripts/slurm/train.sh maps --dataroot ./datasets/maps --model cycle_gan --batch_size 4
#   sbatch --nodes=2 scripts/slurm/train.sh maps --dataroot ./datasets/maps --model cycle_gan --batch_size 8
#
# First comes the name of the run, then options of train.py. A run that was begun is continued.
# Submit it from the checkout, which all machines must see, and adapt the next lines.
#SBATCH --job-name=train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail
name="${1:?"the name of a run, then options of train.py"}"
shift
# source .venv/bin/activate

# Seconds that torchrun gives processes to save, out of the 180 above; else it kills them after 30.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=150
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}" # srun does not ask sbatch, since Slurm 22.05

# The run is where train.py looks for it: below --checkpoints_dir, which may be abbreviated.
checkpoints=checkpoints
before=
for word in "$@"; do
    case "$before" in --check*) checkpoints="$word" ;; esac
    case "$word" in
        --check*=*) checkpoints="${word#*=}" before= ;;
        *) before="$word" ;;
    esac
done
run="$checkpoints/$name"
options=(--name "$name" "$@")
if [ -e "$run/latest_state.pth" ]; then
    options+=(--continue_train)
fi
rm -f "$run/stopped.txt" # of the job before

# Processes meet at the first machine; a port for each job. PROCESSES: on each machine.
first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
srun torchrun \
    --nnodes="$SLURM_JOB_NUM_NODES" --nproc_per_node="${PROCESSES:-gpu}" --max_restarts=2 \
    --rdzv_backend=c10d --rdzv_id="$SLURM_JOB_ID" \
    --rdzv_endpoint="$first:$((20000 + SLURM_JOB_ID % 10000))" \
    --signals_to_handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 \
    train.py "${options[@]}"
status=$?

# Slurm sends SIGUSR1 when the time is nearly up: the run has been saved, and wants more time.
if grep -qs "stopped by SIGUSR1" "$run/stopped.txt"; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$status"
