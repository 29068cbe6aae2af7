//! A relay between a store and its server that loses connections where a test says so.
//!
//! Absent on purpose: the server's protocol but for the texts of statements, which pass in the clear.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What to do when a text comes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    /// Pass it on, and then nothing more of that connection until told to go on.
    Stop,
    /// Close the connection, without passing it on.
    Cut,
    /// Pass it on, wait for the answer and close the connection without passing that back.
    LoseAnswer,
}

/// A relay on a loopback port.
pub(crate) struct Relay {
    /// How the server is reached through it.
    pub(crate) url: String,
    plan: Arc<Mutex<Option<(Act, &'static str)>>>,
    /// True while a connection stands still.
    still: watch::Sender<bool>,
}

impl Relay {
    /// Relays to the server of an address.
    pub(crate) async fn start(url: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let (before, rest) = url.split_once("@127.0.0.1:").expect("an address on loopback");
        let (server, database) = rest.split_once('/').expect("a port and a database");
        let server = format!("127.0.0.1:{server}");
        let (plan, still) = (Arc::default(), watch::channel(false).0);
        let relay = Relay { url: format!("{before}@127.0.0.1:{port}/{database}"), plan, still };
        let (plan, still) = (Arc::clone(&relay.plan), relay.still.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("the server takes connections");
                tokio::spawn(pass(client, server, Arc::clone(&plan), still.clone()));
            }
        });
        relay
    }

    /// After this text nothing more passes.
    pub(crate) fn stop_after(&self, text: &'static str) {
        self.next(Act::Stop, text);
    }

    /// At this text the connection is lost.
    pub(crate) fn cut_at(&self, text: &'static str) {
        self.next(Act::Cut, text);
    }

    /// With the answer to this text the connection is lost.
    pub(crate) fn lose_answer_to(&self, text: &'static str) {
        self.next(Act::LoseAnswer, text);
    }

    fn next(&self, act: Act, text: &'static str) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some((act, text));
    }

    /// Returns when a connection stands still.
    pub(crate) async fn stopped(&self) {
        self.still.subscribe().wait_for(|still| *still).await.expect("the relay lives");
    }

    /// What stands still goes on.
    pub(crate) fn go_on(&self) {
        self.still.send_replace(false);
    }
}

/// One connection, both ways.
async fn pass(
    client: TcpStream,
    server: TcpStream,
    plan: Arc<Mutex<Option<(Act, &'static str)>>>,
    still: watch::Sender<bool>,
) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let bytes = &asked[..length];
                match due(&plan, bytes) {
                    Some(Act::Cut) => return,
                    Some(Act::LoseAnswer) => {
                        to_server.write_all(bytes).await.expect("the server takes it");
                        let answer = from_server.read(&mut answered).await.expect("the server answers");
                        assert!(answer > 0, "the server closed the connection by itself");
                        return;
                    }
                    Some(Act::Stop) => {
                        to_server.write_all(bytes).await.expect("the server takes it");
                        still.send_replace(true);
                        still.subscribe().wait_for(|still| !still).await.expect("the relay lives");
                    }
                    None => if to_server.write_all(bytes).await.is_err() { return },
                }
            }
            read = from_server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if to_client.write_all(&answered[..length]).await.is_err() { return }
            }
        }
    }
}

/// What is planned for these bytes; it is done once.
fn due(plan: &Mutex<Option<(Act, &'static str)>>, bytes: &[u8]) -> Option<Act> {
    let mut plan = plan.lock().unwrap_or_else(PoisonError::into_inner);
    let (act, text) = (*plan)?;
    let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
    found.then(|| {
        *plan = None;
        act
    })
}
