//! Server of a plant over Zenoh: feeds a [`Host`] with messages and time, on the caller's thread.
//! Zenoh's callbacks only put messages into a bounded inbox; the plant never moves on one of Zenoh's threads.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aegis_core::Plant;
use zenoh::Wait;
use zenoh::bytes::ZBytes;
use zenoh::qos::CongestionControl;
use zenoh::query::Query;

use crate::KeyExprs;
use crate::cameras::TimePoint;
use crate::error::LinkError;
use crate::heartbeat::{Heartbeat, INTERVAL};
use crate::host::{Host, nanoseconds};
use crate::inbox::{Batch, Inbox};
use crate::wire::Message;

/// Longest wait at the end for a plant to come to rest by its own means.
const LAST_STOP: Duration = Duration::from_secs(5);
/// Interval at which a plant that comes to rest is asked again.
const STOP_INTERVAL: Duration = Duration::from_millis(20);
/// Longest time between two reads of the inbox that counts as the controller's silence; the part of a pause beyond it
/// does not count. Messages that arrived during a longer pause may not be in the inbox yet when the pause ends: where the
/// whole process was suspended, Zenoh's threads resume no earlier than this one.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Functions that [`serve_with`] calls on its thread.
pub struct Callbacks<R, W, M, I> {
    /// Called once controllers can reach the plant.
    pub ready: R,
    /// Called with warnings about failed control periods and dropped messages, each kind at most once a second.
    pub warn: W,
    /// Called with the plant at each new observation of a free-running episode, the first one included.
    pub moved: M,
    /// Called with the plant while no free-running episode runs, ten times a second or more.
    pub idle: I,
}

/// Serves `plant` as `name` until `stop` is set. `ready` and `warn` are those of [`Callbacks`].
///
/// # Errors
/// [`LinkError::Served`] where another process already serves that name, and errors that Zenoh reports.
pub fn serve<P: Plant>(
    session: &zenoh::Session,
    name: &str,
    host: Host,
    plant: &mut P,
    stop: &AtomicBool,
    ready: impl FnOnce(),
    warn: impl FnMut(&str),
) -> Result<(), LinkError> {
    let callbacks = Callbacks { ready, warn, moved: |_: &TimePoint, _: &P| (), idle: |_: &mut P| () };
    serve_with(session, name, host, plant, stop, callbacks)
}

/// Serves `plant` as `name` until `stop` is set, with a call for each new observation, so that a thread of the caller's can
/// publish pictures through a [`CameraPublisher`](crate::CameraPublisher).
///
/// # Errors
/// The errors of [`serve`].
pub fn serve_with<P: Plant>(
    session: &zenoh::Session,
    name: &str,
    mut host: Host,
    plant: &mut P,
    stop: &AtomicBool,
    callbacks: Callbacks<impl FnOnce(), impl FnMut(&str), impl FnMut(&TimePoint, &P), impl FnMut(&mut P)>,
) -> Result<(), LinkError> {
    let Callbacks { ready, mut warn, mut moved, mut idle } = callbacks;
    let keys = KeyExprs::of(name)?;
    let others = session.liveliness().get(&keys.alive).timeout(Duration::from_millis(500)).wait()?;
    if others.recv().is_ok() {
        return Err(LinkError::Served { name: name.into() });
    }
    let clock = Instant::now();
    let inbox = Arc::new(Inbox::new());
    let _requests = session
        .declare_queryable(&keys.request)
        .callback({
            let inbox = Arc::clone(&inbox);
            move |query| {
                let size = query.payload().map_or(0, ZBytes::len);
                inbox.request(size, (query, clock.elapsed()));
            }
        })
        .wait()?;
    let _watchdogs = session
        .declare_queryable(&keys.watchdog)
        .callback({
            let inbox = Arc::clone(&inbox);
            move |query| {
                let size = query.payload().map_or(0, ZBytes::len);
                inbox.stop(size, (query, clock.elapsed()));
            }
        })
        .wait()?;
    let _pulses = session
        .declare_subscriber(&keys.pulse)
        .callback({
            let inbox = Arc::clone(&inbox);
            move |sample| {
                let payload = sample.payload();
                inbox.pulse(payload.len(), || payload.to_bytes().into(), clock.elapsed());
            }
        })
        .wait()?;
    let _actions = session
        .declare_subscriber(&keys.action)
        .callback({
            let inbox = Arc::clone(&inbox);
            move |sample| {
                let payload = sample.payload();
                inbox.action(payload.len(), || payload.to_bytes().into(), clock.elapsed());
            }
        })
        .wait()?;
    let observations = session
        .declare_publisher(&keys.observation)
        .congestion_control(CongestionControl::Drop)
        .express(true)
        .wait()?;
    let executed = session
        .declare_publisher(&keys.executed)
        .congestion_control(CongestionControl::Drop)
        .express(true)
        .wait()?;
    let status = Arc::new(Mutex::new(host.status(clock.elapsed())));
    let _heart = Heartbeat::start(session, &keys.status, {
        let status = Arc::clone(&status);
        move || stamped(&status, clock).encode()
    })?;
    let _alive = session.liveliness().declare_token(&keys.alive).wait()?;
    ready();

    let (mut next_tick, mut taken, mut last) = (None, clock.elapsed(), None);
    while !stop.load(Ordering::Relaxed) {
        next_tick = host.period().map(|period| next_tick.unwrap_or_else(|| clock.elapsed() + period));
        let until_tick = next_tick.map_or(INTERVAL, |tick: Duration| tick.saturating_sub(clock.elapsed()));
        let batch = inbox.take(until_tick.min(INTERVAL));
        let before = std::mem::replace(&mut taken, clock.elapsed());
        host.discount(taken.saturating_sub(before + LONGEST_PAUSE), taken);
        if host.period().is_none() {
            host.settle(clock.elapsed(), plant);
            idle(plant);
        }
        if batch.is_empty() {
            // With messages still to be handled, the controller may not be silent.
            host.expire(taken);
        }
        take(&mut host, batch, plant);
        if let (Some(tick), Some(period)) = (next_tick, host.period())
            && clock.elapsed() >= tick
        {
            let observation = host.tick(clock.elapsed(), plant);
            if let Some(echo) = host.executed() {
                // A watchdog takes an echo that cannot be sent for one that is missing.
                let _ = executed.put(echo).wait();
            }
            if let Some(observation) = observation {
                // An observation that cannot be sent is superseded by the next one.
                let _ = observations.put(observation).wait();
            }
            next_tick = Some(next(tick, period, clock.elapsed()));
        }
        let moment = host.moment();
        if let Some(now) = &moment
            && moment != last
        {
            moved(now, plant);
        }
        last = moment;
        if let Some(warning) = host.warning(clock.elapsed()) {
            warn(&warning);
        }
        *status.lock().unwrap_or_else(PoisonError::into_inner) = host.status(clock.elapsed());
    }
    host.free();
    let ended = clock.elapsed();
    while !host.settle(clock.elapsed(), plant) {
        if clock.elapsed() > ended + LAST_STOP {
            return Err(LinkError::Moving { name: name.into(), reason: host.unsettled().into() });
        }
        std::thread::sleep(STOP_INTERVAL);
    }
    Ok(())
}

/// Returns when the period after the one of `tick` begins, at `now`. A period that was missed is skipped, and the next one lasts
/// its whole time: two commands are never executed within one period.
fn next(tick: Duration, period: Duration, now: Duration) -> Duration {
    if tick + period > now { tick + period } else { now + period }
}

fn take(host: &mut Host, batch: Batch<(Query, Duration)>, plant: &mut dyn Plant) {
    host.overlook(batch.crowded_out, "more of them came than the plant takes");
    host.overlook(batch.oversized, "it is larger than any message to a plant");
    // A watchdog's stop comes before whatever a controller has sent meanwhile.
    for (query, at) in batch.stops {
        let answer = host.watchdog(&payload(&query), at);
        // Where the answer is lost, the watchdog asks again.
        let _ = query.reply(query.key_expr().clone(), answer).wait();
    }
    // Heartbeats first: a claim by another controller depends on whether the present one is still heard.
    for (bytes, at) in batch.pulses {
        host.pulse(&bytes, at);
    }
    for (bytes, at) in batch.actions {
        host.action(&bytes, at);
    }
    if let Some((query, at)) = batch.request {
        let answer = host.request(&payload(&query), at, plant);
        // Where the answer is lost, the controller repeats the request with the same numbers.
        let _ = query.reply(query.key_expr().clone(), answer).wait();
    }
}

fn payload(query: &Query) -> Cow<'_, [u8]> {
    query.payload().map(|payload| payload.to_bytes()).unwrap_or_default()
}

fn stamped(status: &Mutex<Message>, clock: Instant) -> Message {
    let mut message = status.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Message::Status(status) = &mut message {
        // The clock is read under the lock, so that the stamp is not earlier than the echoed heartbeat's arrival.
        status.stamp_ns = nanoseconds(clock.elapsed());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_period_is_followed_by_a_whole_one() {
        let ms = Duration::from_millis;
        assert_eq!(next(ms(100), ms(50), ms(103)), ms(150), "a little late: the grid stays");
        assert_eq!(next(ms(100), ms(50), ms(330)), ms(380), "no second command at once");
        assert_eq!(next(ms(100), ms(50), ms(150)), ms(200));
    }
}
