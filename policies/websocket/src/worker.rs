//! A connection on a thread of its own, which answers the server's pings while no question is asked: a policy may be silent for
//! minutes, and servers end connections that do not answer.

use std::sync::mpsc::{RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use crate::connection::{Connection, Fault};

/// Interval at which an idle connection is looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// A question: what is sent before it, the message itself, and where its answer goes.
struct Question {
    messages: Vec<Vec<u8>>,
    until: Instant,
    answer: SyncSender<Result<Vec<u8>, Fault>>,
}

/// A connection on a thread of its own. The connection ends when this is dropped.
#[derive(Debug)]
pub struct ConnectionWorker {
    questions: Sender<Question>,
}

impl ConnectionWorker {
    /// Starts the thread.
    ///
    /// # Errors
    /// That of the operating system, in words.
    pub fn start(connection: Connection) -> Result<Self, Fault> {
        let (questions, inbox) = channel::<Question>();
        let work = move || {
            let mut connection = Ok(connection);
            loop {
                match inbox.recv_timeout(INTERVAL) {
                    Ok(question) => {
                        let answer = match &mut connection {
                            Ok(connection) => asked(connection, &question),
                            Err(fault) => Err(Fault::clone(fault)),
                        };
                        if let Err(fault) = &answer {
                            // Dropping it ends it: its next message could be the answer to this question.
                            connection = Err(fault.clone());
                        }
                        // The asker waits, or has ended with its program.
                        let _ = question.answer.send(answer);
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        let settled = connection.as_mut().map_or(Ok(()), Connection::settle);
                        if let Err(fault) = settled {
                            connection = Err(fault);
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            if let Ok(connection) = connection {
                connection.close();
            }
        };
        let started = std::thread::Builder::new().name("aegis-websocket".into()).spawn(work);
        started.map_err(|error| Fault::Failed(format!("no thread for its connection: {error}")))?;
        Ok(Self { questions })
    }

    /// Returns whether the server still holds the connection.
    pub fn is_open(&self) -> bool {
        self.ask(Vec::new(), Instant::now()).is_ok()
    }

    /// Sends messages, and returns the answer to the last.
    ///
    /// # Errors
    /// [`Fault`]; every later question then has the same.
    pub fn ask(&self, messages: Vec<Vec<u8>>, until: Instant) -> Result<Vec<u8>, Fault> {
        let (answer, answers) = sync_channel(1);
        let ended = || Fault::Failed("the thread of its connection has ended".into());
        self.questions.send(Question { messages, until, answer }).map_err(|_| ended())?;
        // The thread answers by `until`: each of its reads and writes is bounded.
        answers.recv().map_err(|_| ended())?
    }
}

fn asked(connection: &mut Connection, question: &Question) -> Result<Vec<u8>, Fault> {
    connection.settle()?;
    for message in &question.messages {
        connection.send(message.clone(), question.until)?;
    }
    // Without a message, only whether the connection still is one is asked.
    if question.messages.is_empty() { Ok(Vec::new()) } else { connection.receive(question.until) }
}
