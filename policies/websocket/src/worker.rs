//! A connection on its own thread, which answers the server's pings between requests: minutes may pass without a request, and servers
//! end connections that do not answer pings.

use std::sync::mpsc::{RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use crate::connection::{Connection, Fault};

/// Interval at which an idle connection is checked.
const INTERVAL: Duration = Duration::from_millis(500);

/// A request: its messages, its deadline, and the channel for the reply.
struct Question {
    messages: Vec<Vec<u8>>,
    until: Instant,
    answer: SyncSender<Result<Vec<u8>, Fault>>,
}

/// A connection on its own thread. The connection ends when this value is dropped.
#[derive(Debug)]
pub struct ConnectionWorker {
    questions: Sender<Question>,
}

impl ConnectionWorker {
    /// Starts the thread.
    ///
    /// # Errors
    /// A message with the operating system's error.
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
                            // The connection is dropped, because its next message could be the late reply to this request.
                            connection = Err(fault.clone());
                        }
                        // The caller waits for the reply, or has ended.
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
        started
            .map_err(|error| Fault::Failed(format!("cannot create a thread for its connection: {error}")))?;
        Ok(Self { questions })
    }

    /// Returns whether the connection is still open.
    pub fn is_open(&self) -> bool {
        self.ask(Vec::new(), Instant::now()).is_ok()
    }

    /// Sends messages, and returns the reply to the last.
    ///
    /// # Errors
    /// [`Fault`]; every later request then has the same error.
    pub fn ask(&self, messages: Vec<Vec<u8>>, until: Instant) -> Result<Vec<u8>, Fault> {
        let (answer, answers) = sync_channel(1);
        let ended = || Fault::Failed("the thread of its connection has ended".into());
        self.questions.send(Question { messages, until, answer }).map_err(|_| ended())?;
        // The thread replies by `until`, because each of its reads and writes is bounded.
        answers.recv().map_err(|_| ended())?
    }
}

fn asked(connection: &mut Connection, question: &Question) -> Result<Vec<u8>, Fault> {
    connection.settle()?;
    for message in &question.messages {
        connection.send(message.clone(), question.until)?;
    }
    // A request without a message only checks whether the connection is open.
    if question.messages.is_empty() { Ok(Vec::new()) } else { connection.receive(question.until) }
}
