//! Setup: places the libraries and the scenes in the cache, each part once, whole or not at all.
//! The name of a part contains the digest of what it is made from, so a changed pin makes a new part beside the old one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::parts::{LIBRARIES, Library, SUITES, cache, inventory};
use crate::{digest, python};

/// Number of suites that are exported at the same time. Each export takes about 2 GB of memory and one processor.
const EXPORTS: usize = 2;
/// Name of the script that runs upstream and writes the scenes of a suite.
const EXPORT: &str = "export_scenes.py";
/// Name of the script that does so for a variant of a suite.
const EXPORT_VARIANT: &str = "export_variant.py";

/// Other projects' programs that the tests talk to, each in a folder of its own.
const PEERS: [Peers; 2] = [
    Peers { name: "servers", lock: "servers.lock", what: "openpi's and vla-eval's servers (1 MB)" },
    Peers { name: "ros2", lock: "ros2.lock", what: "a ROS 2 client (2 MB)" },
];

/// Packages of other projects' programs.
struct Peers {
    /// Name of the link in `.deps`.
    name: &'static str,
    /// Their lock.
    lock: &'static str,
    /// What they are, with their size.
    what: &'static str,
}

/// What a command needs from the setup.
pub struct Needs<'a> {
    /// Suites whose scenes are needed.
    pub suites: &'a [&'a str],
    /// Whether upstream itself must run, which needs more than the scenes exported from it.
    pub upstream: bool,
}

/// Setup of one repository. No other setup works in the same cache until this value is dropped.
pub struct Setup {
    repository: PathBuf,
    cache: PathBuf,
    environment: Environment,
    /// The locked file for which another setup in the same cache waits.
    _lock: File,
}

impl Setup {
    /// Makes the cache folder where it is missing, and waits for another setup that works in it.
    ///
    /// # Errors
    /// No C compiler, and a cache folder that cannot be made or locked.
    pub fn begin(repository: &Path) -> Result<Self> {
        compiler()?;
        let cache = cache()?;
        fs::create_dir_all(&cache)
            .with_context(|| format!("{}: cannot make the cache folder", cache.display()))?;
        let lock = File::create(cache.join("setup.lock")).context("cannot make setup.lock in the cache")?;
        if lock.try_lock().is_err() {
            println!("setup: waiting for another setup in {}", cache.display());
            lock.lock().context("cannot lock setup.lock in the cache")?;
        }
        let environment = Environment::of(&cache, &repository.join("sim_bridge/python"))?;
        Ok(Self { repository: repository.to_owned(), cache, environment, _lock: lock })
    }

    /// Places what compiling and linking need where it is missing: the native libraries, from two small packages.
    ///
    /// Returns whether a library had to be fetched.
    pub fn libraries(&self) -> Result<bool> {
        let mut fetched = false;
        for library in &LIBRARIES {
            fetched |= ensure_library(&self.cache, library, &self.environment)?;
        }
        point(&self.repository.join(".deps/mujoco"), &self.cache.join("lib").join(LIBRARIES[0].folder))?;
        Ok(fetched)
    }

    /// Returns whether [`Self::finish`] has nothing left to make.
    pub fn is_finished(&self, needs: &Needs<'_>) -> Result<bool> {
        let missing = scenes(&self.cache, &self.environment.source, needs.suites)?;
        let mut upstream = !needs.upstream || self.environment.is_complete();
        for peers in PEERS.iter().filter(|_| needs.upstream) {
            upstream &= self.environment.peers(peers)?.is_dir();
        }
        Ok(upstream && missing.iter().all(Scenes::whole))
    }

    /// Makes everything else that running needs and that is missing. Only checks files where nothing is missing.
    pub fn finish(&self, needs: &Needs<'_>) -> Result<()> {
        if needs.upstream {
            self.environment.complete()?;
            point(&self.repository.join(".deps/python"), &self.environment.folder)?;
            for peers in &PEERS {
                let folder = self.environment.with_peers(peers)?;
                point(&self.repository.join(".deps").join(peers.name), &folder)?;
            }
        }
        ensure_scenes(&self.cache, &self.environment, needs.suites)
    }
}

/// Prints what is begun, does the work, and prints how long the work took.
fn timed<T>(what: &str, place: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("setup: {what} into {}", place.display());
    let begin = Instant::now();
    let done = work()?;
    println!("setup: {what}: {:.0} s", begin.elapsed().as_secs_f64());
    Ok(done)
}

fn compiler() -> Result<()> {
    let answers = Command::new("cc").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match answers {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("no C compiler (`cc`): run `apt-get install gcc libc6-dev` (or your system's equivalent)"),
    }
}

/// The virtual environment that upstream LIBERO runs in. It is made only when a part of the cache is missing.
struct Environment {
    folder: PathBuf,
    cache: PathBuf,
    source: PathBuf,
}

impl Environment {
    fn of(cache: &Path, source: &Path) -> Result<Self> {
        let locks = [source.join("requirements-build.lock"), source.join("requirements.lock")];
        let name = digest::of_files(&[&locks[0], &locks[1]])?;
        Ok(Self {
            folder: cache.join("python").join(name),
            cache: cache.to_owned(),
            source: source.to_owned(),
        })
    }

    fn python(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join("complete")
    }

    fn is_complete(&self) -> bool {
        self.stamp().is_file()
    }

    /// Makes the environment with at least the packages that contain the native libraries, which are small and all that
    /// compiling waits for.
    fn with_libraries(&self) -> Result<()> {
        if self.is_complete() || self.folder.join("libraries").is_file() {
            return Ok(());
        }
        let python = python::find()?;
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).context("cannot remove an unfinished environment")?;
        }
        self.whole_or_not_at_all("libraries", || {
            timed("fetching MuJoCo and ONNX Runtime by pip", &self.folder, || {
                let venv = ["-I", "-m", "venv"].map(OsStr::new);
                self.run(
                    &python,
                    &[&venv[..], &[self.folder.as_os_str()]].concat(),
                    "making the virtual environment",
                )?;
                let every = self.source.join("requirements.lock");
                let text = fs::read_to_string(&every)
                    .with_context(|| format!("{}: cannot read", every.display()))?;
                let lock = self.folder.join("libraries.lock");
                fs::write(&lock, locked(&text, &LIBRARIES.map(|library| library.package)))
                    .with_context(|| format!("{}: cannot write", lock.display()))?;
                self.install(&lock)
            })
        })
    }

    /// Makes the whole environment: upstream LIBERO with everything that it needs.
    fn complete(&self) -> Result<()> {
        if self.is_complete() {
            return Ok(());
        }
        self.with_libraries()?;
        self.whole_or_not_at_all("complete", || {
            timed("fetching upstream LIBERO (about 700 MB) by pip", &self.folder, || {
                ["requirements-build.lock", "requirements.lock"]
                    .iter()
                    .try_for_each(|lock| self.install(&self.source.join(lock)))
            })
        })
    }

    /// Returns the folder of other projects' programs.
    fn peers(&self, peers: &Peers) -> Result<PathBuf> {
        let name = digest::of_files(&[&self.source.join(peers.lock)])?;
        Ok(self.cache.join(peers.name).join(name))
    }

    /// Makes that folder where it is missing, whole or not at all. Its packages are no part of the environment, whose lock names the
    /// scenes.
    fn with_peers(&self, peers: &Peers) -> Result<PathBuf> {
        let folder = self.peers(peers)?;
        if folder.is_dir() {
            return Ok(folder);
        }
        let part = folder.with_extension("part");
        let _ = fs::remove_dir_all(&part);
        timed(&format!("fetching {} by pip", peers.what), &folder, || {
            let place = [OsStr::new("--target"), part.as_os_str()];
            self.install_with(&place, &self.source.join(peers.lock))
        })?;
        fs::rename(&part, &folder).with_context(|| format!("{}: cannot place", folder.display()))?;
        Ok(folder)
    }

    /// Calls `make`, then writes the stamp file. Removes the environment where either fails.
    fn whole_or_not_at_all(&self, stamp: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
        let made =
            make().and_then(|()| fs::write(self.folder.join(stamp), "").context("cannot write the stamp"));
        if made.is_err() {
            // The error of `make` is the one to report, so an error of the removal is ignored.
            let _ = fs::remove_dir_all(&self.folder);
        }
        made
    }

    fn install(&self, lock: &Path) -> Result<()> {
        self.install_with(&[], lock)
    }

    fn install_with(&self, more: &[&OsStr], lock: &Path) -> Result<()> {
        let pip =
            ["-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-cache-dir"];
        let strict = ["--progress-bar=off", "--no-deps", "--no-build-isolation", "--require-hashes", "-r"];
        let mut arguments: Vec<&OsStr> = pip.iter().chain(&strict).map(OsStr::new).collect();
        arguments.push(lock.as_os_str());
        arguments.extend(more);
        self.run(&self.python(), &arguments, "installing packages")
    }

    fn run(&self, python: &Path, arguments: &[&OsStr], what: &str) -> Result<()> {
        python::run(python, arguments, &self.cache, what)
    }

    fn site_packages(&self) -> Result<PathBuf> {
        let lib = self.folder.join("lib");
        let versions = fs::read_dir(&lib).with_context(|| format!("{}: cannot list", lib.display()))?;
        let found =
            versions.flatten().map(|entry| entry.path().join("site-packages")).find(|path| path.is_dir());
        found.with_context(|| format!("{}: found no folder site-packages in it", lib.display()))
    }
}

/// Returns the lines of a lock that pin these packages, with their digests.
fn locked(lock: &str, packages: &[&str]) -> String {
    let mut wanted = false;
    let mut lines = String::new();
    for line in lock.lines() {
        if let Some((name, _)) = line.split_once("==") {
            wanted = packages.contains(&name);
        }
        if wanted {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    lines
}

/// Places one library in the cache where it is missing or not whole. Returns whether it had to be placed.
fn ensure_library(cache: &Path, library: &Library, environment: &Environment) -> Result<bool> {
    let folder = cache.join("lib").join(library.folder);
    let path = folder.join(library.file);
    let whole = |path: &Path| -> Result<bool> {
        let pinned = std::env::consts::ARCH == "x86_64";
        Ok(path.is_file() && (!pinned || digest::of_file(path)? == library.sha256))
    };
    if whole(&path)? && folder.join(library.link).exists() {
        return Ok(false);
    }
    environment.with_libraries()?;
    println!("setup: {}", path.display());
    let part = cache.join("lib").join(format!("{}.part", library.folder));
    let _ = fs::remove_dir_all(&part);
    let copied = (|| -> Result<()> {
        fs::create_dir_all(&part)?;
        fs::copy(environment.site_packages()?.join(library.source), part.join(library.file))?;
        std::os::unix::fs::symlink(library.file, part.join(library.link))?;
        if !whole(&part.join(library.file))? {
            bail!(
                "its SHA-256 differs from the pinned one; remove {} and run this again",
                environment.folder.display()
            );
        }
        let _ = fs::remove_dir_all(&folder);
        fs::rename(&part, &folder)?;
        Ok(())
    })();
    if copied.is_err() {
        let _ = fs::remove_dir_all(&part);
    }
    copied.with_context(|| format!("{}: cannot place the library", path.display())).map(|()| true)
}

/// Returns the scenes of these suites, named after the digest of the files that they are made from.
fn scenes<'a>(cache: &Path, source: &Path, suites: &[&'a str]) -> Result<Vec<Scenes<'a>>> {
    let made_from =
        [EXPORT, "placements.py", "upstream.py", "requirements.lock"].map(|name| source.join(name));
    let digest = digest::of_files(&made_from.each_ref().map(PathBuf::as_path))?;
    Ok(suites.iter().map(|suite| Scenes::of(cache, suite, &digest)).collect())
}

fn ensure_scenes(cache: &Path, environment: &Environment, suites: &[&str]) -> Result<()> {
    let scenes = scenes(cache, &environment.source, suites)?;
    let missing: Vec<&Scenes> = scenes.iter().filter(|scenes| !scenes.whole()).collect();
    if !missing.is_empty() {
        environment.complete()?;
    }
    for together in missing.chunks(EXPORTS) {
        std::thread::scope(|scope| -> Result<()> {
            let exports: Vec<_> =
                together.iter().map(|scenes| scope.spawn(|| scenes.export(environment))).collect();
            // All exports are waited for before the first error is returned, so that an export that succeeds is kept.
            let results: Vec<_> = exports.into_iter().map(|export| export.join()).collect();
            results.into_iter().try_for_each(|result| result.unwrap_or_else(|_| bail!("an export panicked")))
        })?;
    }
    scenes
        .iter()
        .try_for_each(|scenes| point(&cache.join("scenes").join(scenes.suite), Path::new(&scenes.name)))
}

/// The exported scenes of one suite.
struct Scenes<'a> {
    suite: &'a str,
    /// Name of the folder: the suite, and the digest of the files that the scenes are made from.
    name: String,
    folder: PathBuf,
    stamp: PathBuf,
}

impl<'a> Scenes<'a> {
    fn of(cache: &Path, suite: &'a str, digest: &str) -> Self {
        let name = format!("{suite}-{digest}");
        let scenes = cache.join("scenes");
        Self { suite, folder: scenes.join(&name), stamp: scenes.join(format!("{name}.inventory")), name }
    }

    fn whole(&self) -> bool {
        self.folder.is_dir()
            && fs::read_to_string(&self.stamp)
                .is_ok_and(|text| inventory(&self.folder).is_ok_and(|now| now == text))
    }

    fn export(&self, environment: &Environment) -> Result<()> {
        let script = if SUITES.contains(&self.suite) { EXPORT } else { EXPORT_VARIANT };
        let script = environment.source.join(script);
        let _ = fs::remove_dir_all(&self.folder);
        let arguments: [&OsStr; 5] = [
            script.as_ref(),
            "--suite".as_ref(),
            self.suite.as_ref(),
            "--out".as_ref(),
            self.folder.as_ref(),
        ];
        let what = format!("exporting the scenes of {}", self.suite);
        timed(&what, &self.folder, || environment.run(&environment.python(), &arguments, &what))?;
        fs::write(&self.stamp, inventory(&self.folder)?)
            .with_context(|| format!("{}: cannot write", self.stamp.display()))
    }
}

/// Makes `link` a symbolic link to `target`, replacing another link in one step.
fn point(link: &Path, target: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|now| now == target) {
        return Ok(());
    }
    let place = || -> Result<()> {
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent)?;
        }
        let fresh = link.with_extension("new");
        let _ = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(target, &fresh)?;
        fs::rename(&fresh, link)?;
        Ok(())
    };
    place().with_context(|| format!("{}: cannot link to {}", link.display(), target.display()))
}

#[cfg(test)]
mod tests {
    use super::locked;

    #[test]
    fn only_the_wanted_packages_are_taken_from_a_lock() {
        let lock = "# made by hand\none==1.0 \\\n    --hash=sha256:aa\ntwo==2.0 \\\n    --hash=sha256:bb \\\n    \
                    --hash=sha256:cc\nthree==3 \\\n    --hash=sha256:dd\n";
        let taken = locked(lock, &["two"]);
        assert_eq!(taken, "two==2.0 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n");
        assert_eq!(locked(lock, &["tw", "four"]), "");
    }

    #[test]
    fn every_library_comes_out_of_a_locked_package() {
        let lock = include_str!("../../sim_bridge/python/requirements.lock");
        for library in &crate::parts::LIBRARIES {
            assert!(locked(lock, &[library.package]).contains("--hash=sha256:"), "{}", library.package);
        }
    }
}
