//! Tests `experiments/launch/slurm.sh` with stand-ins for Slurm and for aegis: which commands the jobs run, with how many
//! processors, and what a second submission runs.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{folder, mode, refuses, repository, succeeds};

/// Stand-in for `sbatch`: runs the submitted script at once, for each task of the array, with the requested number of processors.
const SBATCH: &str = r#"#!/usr/bin/env bash
set -euo pipefail
tasks=1
while [ $# -gt 0 ]; do
    case $1 in
        --array) tasks=${2#1-}; shift ;;
        --output) echo "log $PWD/$2" >> "$SAID"; shift ;;
        --cpus-per-task) export SLURM_CPUS_PER_TASK=$2; shift ;;
    esac
    shift
done
script=$(cat)
for SLURM_ARRAY_TASK_ID in $(seq "$tasks"); do
    export SLURM_ARRAY_TASK_ID
    (cd / && bash -c "$script" < /dev/null)
done
echo '7;cluster'
"#;

/// Stand-in for `srun`: logs the number of processors of the step. Since Slurm 22.05 the default is one processor.
const SRUN: &str = r#"#!/usr/bin/env bash
cpus=1
if [ "$1" = --cpus-per-task ]; then cpus=$2; shift 2; fi
echo "srun on $cpus" >> "$SAID"
exec "$@"
"#;

/// Stand-in for `aegis`: logs its arguments, and creates the folders that `aegis` would create.
const AEGIS: &str = r#"#!/usr/bin/env bash
set -euo pipefail
{ echo aegis; printf '  %s\n' "$@"; } >> "$SAID"
case "$1 $2" in
    'experiment run') mkdir -p "$8" ;;
    'experiment merge') mkdir "$6" ;;
esac
"#;

struct StandIns {
    folder: PathBuf,
}

impl StandIns {
    fn new(folder: PathBuf) -> Self {
        for (name, text) in [("sbatch", SBATCH), ("srun", SRUN), ("aegis", AEGIS)] {
            std::fs::write(folder.join(name), text).unwrap();
            mode(&folder.join(name), 0o755);
        }
        Self { folder }
    }

    fn submit(&self, plan: &Path, out: &Path, shards: &str) -> Command {
        let mut command = Command::new(repository().join("experiments/launch/slurm.sh"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.folder.display()));
        command.env("AEGIS", self.folder.join("aegis")).env("SAID", self.folder.join("said"));
        command.arg(plan).arg(out).arg(shards).args(["--cpus-per-task", "8", "--partition", "robots"]);
        command
    }

    /// Returns the log of the stand-ins since the last call, and deletes it.
    fn said(&self) -> String {
        let said = self.folder.join("said");
        let text = std::fs::read_to_string(&said).unwrap();
        std::fs::remove_file(said).unwrap();
        text
    }
}

#[test]
fn a_submission_has_its_processors_is_quoted_and_goes_on_when_it_is_made_again() {
    let place = folder("launch-slurm");
    let stand_ins = StandIns::new(place.clone());
    // A name with every character that a shell or Slurm interprets.
    let odd = place.join("it's \"$HOME\" 100% %j \\ `date`");
    std::fs::create_dir(&odd).unwrap();
    let (plan, out) = (odd.join("a plan.toml"), odd.join("a study"));
    std::fs::write(&plan, "").unwrap();
    let (plan_text, out_text) = (plan.display(), out.display());
    let run = |index: usize| {
        format!(
            "srun on 8\naegis\n  experiment\n  run\n  --plan\n  {plan_text}\n  --shard\n  {index}/2\n  --out\n  \
             {out_text}/part-{index}\n  --workers\n  8\n"
        )
    };
    let check = format!("aegis\n  plan\n  check\n  {plan_text}\n");
    let array = format!("log {out_text}/logs/part-%a.log\n{}{}", run(1), run(2));
    let merge = format!(
        "aegis\n  experiment\n  merge\n  --plan\n  {plan_text}\n  --out\n  {out_text}/study\n  {out_text}/part-1\n  \
         {out_text}/part-2\n"
    );
    let report = format!("aegis\n  experiment\n  report\n  --plan\n  {plan_text}\n  {out_text}/study\n");
    let log = format!("log {out_text}/logs/report.log\n");

    let said = succeeds(&mut stand_ins.submit(&plan, &out, "2"));
    assert!(said.starts_with("array 7 of 2 tasks, then 7: ") && said.contains("study/report.html"), "{said}");
    assert_eq!(stand_ins.said(), format!("{check}{array}{log}{merge}{report}"));
    // A second submission runs the shards again, which continue from their stores, but does not merge again.
    succeeds(&mut stand_ins.submit(&plan, &out, "2"));
    assert_eq!(stand_ins.said(), format!("{check}{array}{log}{report}"));
    refuses(&mut stand_ins.submit(&plan, &out, "3"), 2, &["SHARDS: found 3; valid is 2"]);
    refuses(&mut stand_ins.submit(&plan, &out, "0"), 2, &["SHARDS: found 0"]);
}
