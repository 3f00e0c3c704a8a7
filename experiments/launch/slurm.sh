#!/usr/bin/env bash
# A registered study as a Slurm job array, one shard a task, and a job after it that puts them together and reports.
#
#   experiments/launch/slurm.sh PLAN OUT SHARDS [SBATCH OPTION]...
#   experiments/launch/slurm.sh experiments/study.toml /shared/study 16 --cpus-per-task 8 --partition robots
#
# OUT lies on a file system that all nodes see, and so do the repository and AEGIS_CACHE. A task that was killed or timed
# out loses what was in flight: submit again with the same OUT, and only what is missing is run.
set -euo pipefail
if [ "$#" -lt 3 ]; then
    sed -n '4,5s/^# *//p' "$0" >&2
    exit 2
fi
plan=$(realpath "$1") out=$(realpath --canonicalize-missing "$2") shards=$3
shift 3
if ! [[ $shards =~ ^[1-9][0-9]*$ ]]; then
    echo "slurm.sh: SHARDS: found $shards; valid is a whole number from 1" >&2
    exit 2
fi
aegis=${AEGIS:-$(realpath "$(dirname "$0")/../../target/release/aegis")}
mkdir -p "$out/logs"
# What is not there, or not as registered, is said before anything queues.
"$aegis" plan check "$plan"

array=$(sbatch --parsable --job-name aegis-study --array "1-$shards" --output "$out/logs/part-%a.log" "$@" <<EOF
#!/usr/bin/env bash
exec srun "$aegis" experiment run --plan "$plan" --shard "\$SLURM_ARRAY_TASK_ID/$shards" \
    --out "$out/part-\$SLURM_ARRAY_TASK_ID" --workers "\${SLURM_CPUS_PER_TASK:-1}"
EOF
)
after=$(sbatch --parsable --job-name aegis-report --dependency "afterok:${array%%;*}" --kill-on-invalid-dep yes \
    --output "$out/logs/report.log" "$@" <<EOF
#!/usr/bin/env bash
set -euo pipefail
parts=()
for index in \$(seq $shards); do parts+=("$out/part-\$index"); done
"$aegis" experiment merge --plan "$plan" --out "$out/study" "\${parts[@]}"
"$aegis" experiment report --plan "$plan" "$out/study"
EOF
)
echo "array ${array%%;*} of $shards tasks, then ${after%%;*}: the report will be $out/study/report.html"
