#!/usr/bin/env bash
# A registered study as a Slurm job array, one shard a task, and a job after it that puts them together and reports.
#
#   experiments/launch/slurm.sh PLAN OUT SHARDS [SBATCH OPTION]...
#   experiments/launch/slurm.sh experiments/study.toml /shared/study 16 --cpus-per-task 8 --partition robots
#
# OUT lies on a file system that all nodes see, and so do the repository and AEGIS_CACHE. A task that was killed or timed
# out loses what was in flight: submit again with the same OUT and SHARDS, and only what is missing is run.
set -euo pipefail
if [ "$#" -lt 3 ]; then
    sed -n '4,5s/^# *//p' "$0" >&2
    exit 2
fi
plan=$(realpath -- "$1") out=$(realpath --canonicalize-missing -- "$2") shards=$3
shift 3
if ! [[ $shards =~ ^[1-9][0-9]*$ ]]; then
    echo "slurm.sh: SHARDS: found $shards; valid is a whole number from 1" >&2
    exit 2
fi
aegis=${AEGIS:-$(realpath "$(dirname "$0")/../../target/release/aegis")}
mkdir -p "$out/logs"
# Sets of one division would be in two parts of another.
before=$(cat "$out/shards" 2> /dev/null || echo "$shards")
if [ "$before" != "$shards" ]; then
    echo "slurm.sh: SHARDS: found $shards; valid is $before, as many as $out was begun with, or another OUT" >&2
    exit 2
fi
# What is not there, or not as registered, is said before anything queues.
"$aegis" plan check "$plan"
echo "$shards" > "$out/shards"

# In the jobs' scripts every value stands quoted, whatever is in it.
printf -v values '%q ' "$PWD" "$aegis" "$plan" "$out" "$shards"
begin="#!/usr/bin/env bash
set -euo pipefail
set -- $values"
# Since 22.05, srun does not take the processors of a task from what the job asked for.
part='cd "$1"
cpus=${SLURM_CPUS_PER_TASK:-1}
exec srun --cpus-per-task "$cpus" "$2" experiment run --plan "$3" --shard "$SLURM_ARRAY_TASK_ID/$5" \
    --out "$4/part-$SLURM_ARRAY_TASK_ID" --workers "$cpus"'
# A study that is there was put together after an earlier submission, and only when all of it was.
whole='cd "$1"
parts=()
for index in $(seq "$5"); do parts+=("$4/part-$index"); done
[ -e "$4/study" ] || "$2" experiment merge --plan "$3" --out "$4/study" "${parts[@]}"
"$2" experiment report --plan "$3" "$4/study"'

# Slurm reads % and \ anywhere in the path of a log as patterns, but not in the folder that a job is submitted from.
cd "$out/logs"
array=$(sbatch --parsable --job-name aegis-study --array "1-$shards" --output part-%a.log "$@" <<< "$begin
$part")
after=$(sbatch --parsable --job-name aegis-report --dependency "afterok:${array%%;*}" --kill-on-invalid-dep yes \
    --output report.log "$@" <<< "$begin
$whole")
echo "array ${array%%;*} of $shards tasks, then ${after%%;*}: the report will be $out/study/report.html"
