//! Thread that takes control periods from their ring and writes the record, the black boxes and the summary. A full disk
//! ends the record with an alarm and affects nothing else: black boxes have disk space reserved.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aegis_core::control::{Mode, TickRecord};
use aegis_recorder::EpisodeEnd;
use aegis_recorder::black_box::BlackBox;
use aegis_recorder::run_log::{RunHeader, RunLog};
use aegis_runtime::LogReader;

use crate::call_tracker::CallTracker;
use crate::events::TickEvent;
use crate::reserve::{Reserve, room};
use crate::run_summary::{HandOver, RunSummary};
use aegis_failure::{Exit, Failure, OrExit, failure};

/// Interval at which an empty ring is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// Interval at which the thread checks that the record file is still at its path.
const LOOK: Duration = Duration::from_secs(1);
/// Length of a black box, seconds.
const BLACK_BOX: f64 = 60.0;

/// Handle of the recording thread.
pub struct Recording {
    end: Arc<AtomicBool>,
    /// Asks the thread to clear the distributions.
    forget: Arc<AtomicBool>,
    thread: JoinHandle<RunSummary>,
    /// The run's folder.
    pub folder: PathBuf,
    /// Disk space reserved in the folder for the files that are written when the disk is full.
    pub reserve: Arc<Reserve>,
}

impl Recording {
    /// Makes the run's folder, reserves disk space in it and starts the thread. `watch` is called with every decoded period
    /// after that period was recorded.
    ///
    /// # Errors
    /// A folder, a record file or a reserve that cannot be made.
    pub fn start(
        folder: PathBuf,
        header: RunHeader,
        mut ring: LogReader,
        mut watch: impl FnMut(&TickEvent<'_>) + Send + 'static,
    ) -> Result<Self, Failure> {
        std::fs::create_dir_all(&folder).map_err(|error| {
            failure(Exit::Failed, format!("{}: cannot make the folder: {error}", folder.display()))
        })?;
        let path = folder.join("run.aegis");
        let log = RunLog::create(&path, &header).or_exit(Exit::Failed)?;
        let most = (BLACK_BOX * header.recipe.settings.rate_hz).ceil() as usize;
        let bytes = room(&header.recipe, most);
        let reserve = Reserve::set_aside(&folder, bytes).map_err(|error| {
            // A run that cannot start leaves no record file.
            let _ = std::fs::remove_file(&path);
            let (folder, size) = (folder.display(), bytes.div_ceil(1 << 20));
            let reason = format!("cannot set {size} MiB aside for the summary and the black boxes: {error}");
            failure(
                Exit::Failed,
                format!("{folder}: {reason}; valid is a folder with so much room, so choose another --out"),
            )
        })?;
        let reserve = Arc::new(reserve);
        let (end, forget) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let cameras = &header.recipe.settings.cameras;
        let by_hand = header.recipe.operator.is_some();
        let taken = RunSummary::new(cameras.iter().map(|camera| &*camera.name), by_hand)?;
        let mut taker = RecordWorker {
            folder: folder.clone(),
            header,
            log: Some(log),
            reserve: Arc::clone(&reserve),
            black_box: BlackBox::new(most),
            mode: Mode::Idle,
            hand_over: HandOver::default(),
            calls: CallTracker::default(),
            taken,
            looked: Instant::now(),
        };
        let thread = std::thread::Builder::new().name("record".into()).spawn({
            let (end, forget) = (Arc::clone(&end), Arc::clone(&forget));
            move || {
                let mut bytes = Vec::new();
                loop {
                    // `end` is read before the ring is emptied, so that nothing written before the end stays in the ring.
                    let over = end.load(Ordering::Acquire) || ring.is_over();
                    while ring.pop(&mut bytes) {
                        taker.take(&bytes, &mut watch);
                    }
                    taker.flush();
                    if forget.swap(false, Ordering::AcqRel) {
                        taker.taken.forget();
                    }
                    if over {
                        break;
                    }
                    std::thread::sleep(POLL_INTERVAL);
                }
                taker.finish();
                taker.taken.dropped = ring.dropped();
                taker.taken
            }
        });
        Ok(Self { end, forget, thread: thread.or_exit(Exit::Failed)?, folder, reserve })
    }

    /// Clears the distributions, which so far were of the warm-up.
    pub fn forget(&self) {
        self.forget.store(true, Ordering::Release);
    }

    /// Ends the thread after it has written what is left. Returns the summary; `None` where the thread panicked.
    pub fn end(self) -> Option<RunSummary> {
        self.end.store(true, Ordering::Release);
        self.thread.join().ok()
    }
}

struct RecordWorker {
    folder: PathBuf,
    header: RunHeader,
    log: Option<RunLog>,
    reserve: Arc<Reserve>,
    black_box: BlackBox,
    mode: Mode,
    hand_over: HandOver,
    calls: CallTracker,
    taken: RunSummary,
    /// When the record file was last checked to be at its path.
    looked: Instant,
}

impl RecordWorker {
    fn take(&mut self, bytes: &[u8], watch: &mut impl FnMut(&TickEvent<'_>)) {
        if let Some(Err(error)) = self.log.as_mut().map(|log| log.append(bytes)) {
            self.give_up(error.to_string());
        }
        self.black_box.push(bytes);
        let Ok(period) = rmp_serde::from_slice::<TickRecord<'_>>(bytes) else {
            return self.taken.take_unread();
        };
        let turn = TickEvent {
            bytes,
            period: &period,
            before: self.mode,
            handed_over: self.hand_over.take(&period),
            call: self.calls.take(&period),
        };
        self.taken.take(&turn);
        let mode = period.output.mode;
        if let Some(end) = EpisodeEnd::of(&period, self.mode) {
            self.taken.end_episode(end);
        }
        if mode != self.mode && mode.is_latched() {
            self.write_black_box(&period);
        }
        self.mode = mode;
        watch(&turn);
    }

    fn write_black_box(&mut self, period: &TickRecord<'_>) {
        // The reserve is not for the record: on a full disk the record must fail before the reserve is released.
        self.flush();
        let path = self.folder.join(format!("black-box-{}.aegis", self.taken.stops() + 1));
        let write = || self.black_box.write(&path, &self.header);
        if let Err(error) = self.reserve.for_black_box(self.black_box.size(), write) {
            tracing::error!("no black box: {error}");
        }
        self.taken.stop(period.output.mode, period.output.cause, path);
    }

    fn flush(&mut self) {
        let looks = self.looked.elapsed() >= LOOK;
        if looks {
            self.looked = Instant::now();
        }
        let flushed = self.log.as_mut().map(|log| {
            log.flush()?;
            if looks { log.check_there() } else { Ok(()) }
        });
        if let Some(Err(error)) = flushed {
            self.give_up(error.to_string());
        }
    }

    /// Writes the record's end mark, and adds an episode that has not ended as unfinished.
    fn finish(&mut self) {
        if let Some(Err(error)) = self.log.take().map(RunLog::finish) {
            self.give_up(error.to_string());
        }
        if self.mode.is_on() {
            self.taken.end_episode(EpisodeEnd::Unfinished);
        }
    }

    fn give_up(&mut self, reason: String) {
        tracing::error!("the record ends here, control goes on: {reason}");
        self.log = None;
        self.taken.alarm = Some(reason);
    }
}
