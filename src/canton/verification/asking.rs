//! Asking an SV's services over HTTP.

use super::answers::{Answer, Question, judge, svs};
use super::report::Line;
use crate::canton::http::{Client, Failure};
use crate::canton::name::Participant;
use crate::canton::release::Splice;
use crate::shown::excerpt;

/// A body of more bytes is none of these services. Scan's answer holds the DSO's rules and every SV's state: some hundred
/// KiB with forty SVs.
const MOST_BODY_BYTES: usize = 8 << 20;

/// Who answers questions.
pub trait Asks {
    /// The answer at this path, or in words why there is none.
    ///
    /// # Errors
    /// Why there is none.
    fn ask(&mut self, path: &str) -> Result<Answer, String>;

    /// Who that is.
    fn address(&self) -> String;
}

/// A server, and what waits for it.
pub struct Server<'a> {
    client: &'a Client,
    runtime: &'a tokio::runtime::Runtime,
}

impl<'a> Server<'a> {
    /// With a client for the server, on this runtime.
    pub fn new(client: &'a Client, runtime: &'a tokio::runtime::Runtime) -> Server<'a> {
        Server { client, runtime }
    }

    async fn get(&self, path: &str) -> Result<Answer, Failure> {
        let mut incoming = self.client.stream(path, &[], &[]).await?;
        let mut answer = Answer {
            status: incoming.status(),
            content_type: incoming.content_type(),
            ..Answer::default()
        };
        while let Some(piece) = incoming.chunk().await? {
            let room = MOST_BODY_BYTES.saturating_sub(answer.body.len());
            answer.body.extend(piece.iter().take(room));
            if piece.len() > room {
                answer.is_cut = true;
                break;
            }
        }
        Ok(answer)
    }
}

impl Asks for Server<'_> {
    fn ask(&mut self, path: &str) -> Result<Answer, String> {
        self.runtime.block_on(async {
            match tokio::time::timeout(PATIENCE, self.get(path)).await {
                Ok(answer) => answer.map_err(|why| excerpt(&why.to_string())),
                Err(_) => Err(format!("no whole answer within {} s", PATIENCE.as_secs())),
            }
        })
    }

    fn address(&self) -> String {
        self.client.address().to_string()
    }
}

/// A question is asked again later rather than waited for.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Asks the SV app all that it can be asked.
pub fn sv(asks: &mut dyn Asks, expected: Option<Splice>) -> Vec<Line> {
    let at = asks.address();
    let ask = |question: &Question| {
        let answer = asks.ask(question.path());
        judge(*question, &at, answer.as_ref().map_err(String::as_str), expected)
    };
    Question::OF_SV.iter().map(ask).collect()
}

/// Asks scan, and answers also who the SVs' participants are, as far as it says.
pub fn scan(asks: &mut dyn Asks) -> (Vec<Line>, Vec<Participant>) {
    let at = asks.address();
    let mut participants = Vec::new();
    let mut lines = Vec::new();
    for question in Question::OF_SCAN {
        let answer = asks.ask(question.path());
        if let (Question::Dso, Ok(answer)) = (question, &answer) {
            participants = svs(&answer.body);
        }
        lines.push(judge(question, &at, answer.as_ref().map_err(String::as_str), None));
    }
    (lines, participants)
}
