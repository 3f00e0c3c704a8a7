//! Setup: brings the libraries and the scenes into the cache, each part once, whole or not at all.
//! A part is named after what it is made from, so a changed pin makes a new part beside the old one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::parts::{LIBRARIES, Library, cache, inventory};
use crate::{digest, python};

/// How many suites are exported at a time: each takes about 2 GB of memory and a processor.
const EXPORTS: usize = 2;

/// What is to be made sure of.
pub struct Needs<'a> {
    /// Suites whose scenes are needed.
    pub suites: &'a [&'a str],
    /// Whether upstream itself is needed: to run it, and not only what was exported from it.
    pub upstream: bool,
}

/// Makes sure of everything that building and running need. Checks files and nothing else when all is there.
pub fn ensure(repository: &Path, needs: &Needs<'_>) -> Result<()> {
    compiler()?;
    let cache = cache()?;
    fs::create_dir_all(&cache)
        .with_context(|| format!("{}: cannot make the cache folder", cache.display()))?;
    let lock = File::create(cache.join("setup.lock")).context("cannot make setup.lock in the cache")?;
    // Another setup may be at work in the same cache: wait for it.
    lock.lock().context("cannot lock setup.lock in the cache")?;

    let source = repository.join("sim_bridge/python");
    let environment = Environment::of(&cache, &source)?;
    if needs.upstream {
        environment.ensure()?;
        point(&repository.join(".deps/python"), &environment.folder)?;
    }
    for library in &LIBRARIES {
        ensure_library(&cache, library, &environment)?;
    }
    ensure_scenes(&cache, &source, &environment, needs.suites)?;
    point(&repository.join(".deps/mujoco"), &cache.join("lib").join(LIBRARIES[0].folder))
}

fn compiler() -> Result<()> {
    let answers = Command::new("cc").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match answers {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("no C compiler (`cc`): run `apt-get install gcc libc6-dev` (or your system's equivalent)"),
    }
}

/// The virtual environment that upstream LIBERO runs in. Made only when a part is missing.
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

    fn ensure(&self) -> Result<()> {
        let stamp = self.folder.join("complete");
        if stamp.is_file() {
            return Ok(());
        }
        let python = python::find()?;
        println!("setup: fetching upstream LIBERO, MuJoCo and ONNX Runtime (about 700 MB) by pip into");
        println!("       {}", self.folder.display());
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).context("cannot remove an unfinished environment")?;
        }
        let made =
            self.install(&python).and_then(|()| fs::write(&stamp, "").context("cannot write the stamp"));
        if made.is_err() {
            // The error to report is the first one.
            let _ = fs::remove_dir_all(&self.folder);
        }
        made
    }

    fn install(&self, python: &Path) -> Result<()> {
        let run =
            |python: &Path, arguments: &[&OsStr], what| python::run(python, arguments, &self.cache, what);
        run(
            python,
            &["-I".as_ref(), "-m".as_ref(), "venv".as_ref(), self.folder.as_ref()],
            "making the environment",
        )?;
        let pip =
            ["-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-cache-dir"];
        let strict = ["--progress-bar=off", "--no-deps", "--no-build-isolation", "--require-hashes", "-r"];
        for lock in ["requirements-build.lock", "requirements.lock"] {
            let lock = self.source.join(lock);
            let mut arguments: Vec<&OsStr> = pip.iter().chain(&strict).map(OsStr::new).collect();
            arguments.push(lock.as_os_str());
            run(&self.python(), &arguments, "installing packages")?;
        }
        Ok(())
    }

    fn site_packages(&self) -> Result<PathBuf> {
        let lib = self.folder.join("lib");
        let versions = fs::read_dir(&lib).with_context(|| format!("{}: cannot list", lib.display()))?;
        let found =
            versions.flatten().map(|entry| entry.path().join("site-packages")).find(|path| path.is_dir());
        found.with_context(|| format!("{}: holds no site-packages", lib.display()))
    }
}

fn ensure_library(cache: &Path, library: &Library, environment: &Environment) -> Result<()> {
    let folder = cache.join("lib").join(library.folder);
    let path = folder.join(library.file);
    let whole = |path: &Path| -> Result<bool> {
        let pinned = std::env::consts::ARCH == "x86_64";
        Ok(path.is_file() && (!pinned || digest::of_file(path)? == library.sha256))
    };
    if whole(&path)? && folder.join(library.link).exists() {
        return Ok(());
    }
    environment.ensure()?;
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
    copied.with_context(|| format!("{}: cannot place the library", path.display()))
}

fn ensure_scenes(cache: &Path, source: &Path, environment: &Environment, suites: &[&str]) -> Result<()> {
    let made_from = ["export_scenes.py", "placements.py", "upstream.py", "requirements.lock"]
        .map(|name| source.join(name));
    let digest = digest::of_files(&made_from.each_ref().map(PathBuf::as_path))?;
    let scenes: Vec<Scenes> = suites.iter().map(|suite| Scenes::of(cache, suite, &digest)).collect();
    let missing: Vec<&Scenes> = scenes.iter().filter(|scenes| !scenes.whole()).collect();
    if !missing.is_empty() {
        environment.ensure()?;
    }
    for together in missing.chunks(EXPORTS) {
        std::thread::scope(|scope| -> Result<()> {
            let exports: Vec<_> = together
                .iter()
                .map(|scenes| scope.spawn(|| scenes.export(&made_from[0], environment)))
                .collect();
            // Every export is waited for, so that the first error does not hide a suite that came out well.
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
    /// Of the folder, with the digest of what it is made from.
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

    fn export(&self, script: &Path, environment: &Environment) -> Result<()> {
        println!("setup: exporting the scenes of {} (about a minute) to", self.suite);
        println!("       {}", self.folder.display());
        let _ = fs::remove_dir_all(&self.folder);
        let arguments: [&OsStr; 5] = [
            script.as_ref(),
            "--suite".as_ref(),
            self.suite.as_ref(),
            "--out".as_ref(),
            self.folder.as_ref(),
        ];
        let what = format!("exporting the scenes of {}", self.suite);
        python::run(&environment.python(), &arguments, &environment.cache, &what)?;
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
