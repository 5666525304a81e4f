//! The channel with one peer: when keys are made, switched and dropped. Node-to-node specification, section 2.
//!
//! ```text
//!  Quiet ── init ──► Initiated ── good response, final ──► Quiet, with new keys
//!    │                   └── the peer's init, where its id is greater ─┐
//!    └── the peer's init, response ──► Answered ◄──────────────────────┘
//!                                         └── good final ──► Quiet, with new keys
//! ```
//!
//! | moment | send key | receive key |
//! |---|---|---|
//! | a good response arrives | new, then the final, then what waits | new |
//! | a good init is answered | new, from the frame after the response | unchanged: old or none |
//! | a good final arrives | | new |
//!
//! Keys outlive connections. Half a handshake does not heal by itself (a real node waits for a final for ever), so this side begins
//! another where frames of the peer can't be read, where its final does not come, and where an init is not answered.

use std::sync::Arc;
use std::time::Duration;

use rand_core::CryptoRng;

use super::dropped::Dropped;
use super::effect::{Closed, Effect, Unsent};
use super::frame::{Frame, FrameType, HEADER_BYTES};
use super::handshake::{self, Handshake, SALT_BYTES, Share};
use super::held::{Held, Parts};
use super::id::NodeId;
use super::keys::{Agreed, ReceiveKey, SendKey};
use super::message::{Consensus, Forwarded, IV_BYTES, Message, TAG_BYTES};
use super::settings::Settings;
use super::visitors::{Visitor, Visitors};
use crate::crypto::{EphemeralKey, SigningKey, VerifyingKey};

/// Who this node is to its peers.
pub struct Own {
    id: NodeId,
    key: Arc<SigningKey>,
    certificate: String,
    service: VerifyingKey,
}

impl Own {
    /// A node with this `key`, the `certificate` (PEM) that its service endorsed, and that service's key.
    pub fn new(key: Arc<SigningKey>, certificate: String, service: VerifyingKey) -> Self {
        Own {
            id: NodeId(key.verifying_key().id()),
            key,
            certificate,
            service,
        }
    }

    /// The digest of the node's key.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The certificate that others are shown, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }
}

enum Stage {
    /// No handshake is under way.
    Quiet,
    /// An init was sent.
    Initiated {
        ephemeral: EphemeralKey,
        share: Share,
        salt: [u8; SALT_BYTES],
    },
    /// A response was sent: the final is missing.
    Answered {
        share: Share,
        peer: VerifyingKey,
        /// Takes effect with the final.
        receive: ReceiveKey,
        at: Duration,
    },
}

/// The channel with one peer.
///
/// Times are since any moment, the same one for every call.
pub struct Channel {
    own: Arc<Own>,
    peer: NodeId,
    settings: Settings,
    stage: Stage,
    send: Option<SendKey>,
    receive: Option<ReceiveKey>,
    held: Held,
    visitors: Visitors,
    /// The response or final that was sent last, as long as nothing newer was: lost with a connection, it would be missed.
    resend: Option<Vec<u8>>,
    initiated_at: Option<Duration>,
    /// Inits since the last keys.
    attempts: u32,
    /// When something was last sent, or received that was good.
    traffic: Option<Duration>,
}

impl Channel {
    /// A channel that has no keys yet.
    pub fn new(own: Arc<Own>, peer: NodeId, settings: Settings) -> Self {
        Channel {
            own,
            peer,
            settings,
            stage: Stage::Quiet,
            send: None,
            receive: None,
            held: Held::default(),
            visitors: Visitors::default(),
            resend: None,
            initiated_at: None,
            attempts: 0,
            traffic: None,
        }
    }

    /// From the next handshake on this node is `own`: its certificate, or the service's key, was renewed.
    pub fn renew(&mut self, own: Arc<Own>) {
        self.own = own;
    }

    /// Whether there are keys for both directions.
    pub fn is_established(&self) -> bool {
        self.send.is_some() && self.receive.is_some()
    }

    /// Whether a handshake is under way.
    pub fn is_in_handshake(&self) -> bool {
        !matches!(self.stage, Stage::Quiet)
    }

    /// The peer.
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// Sends `message`, or keeps it and makes keys first.
    pub fn want_to_send(
        &mut self,
        now: Duration,
        message: &Message<'_>,
        rng: &mut impl CryptoRng,
    ) -> Vec<Effect<'static>> {
        let mut out = Vec::new();
        let parts = Parts::of(message);
        let sealed = parts.header.len() + TAG_BYTES + IV_BYTES + parts.plaintext.len();
        let bytes = sealed.saturating_add(parts.entries.len()).saturating_add(HEADER_BYTES);
        let max = self.settings.max_frame_bytes;
        if bytes > max {
            out.push(Effect::Unsent(Unsent::TooLong { bytes, max }));
            return out;
        }
        self.traffic = Some(now);
        if self.send.is_some() {
            self.seal(&parts, &mut out);
            self.mind_the_limit(now, rng, &mut out);
            return out;
        }
        if let Err(why) = self.held.push(parts) {
            out.push(Effect::Unsent(why));
        }
        match self.stage {
            Stage::Initiated { .. } if !self.is_due(now, self.gap()) => {}
            _ => self.initiate(now, rng, &mut out),
        }
        out
    }

    /// A frame came that names the peer.
    pub fn received<'f>(&mut self, now: Duration, frame: &Frame<'f>, rng: &mut impl CryptoRng) -> Vec<Effect<'f>> {
        self.received_of(false, now, frame, rng)
    }

    /// The same. Of a stranger, over whose connection nothing has come that shows that it is the peer's, an init leaves
    /// everything as it is until its final follows.
    pub fn received_of<'f>(
        &mut self,
        stranger: bool,
        now: Duration,
        frame: &Frame<'f>,
        rng: &mut impl CryptoRng,
    ) -> Vec<Effect<'f>> {
        let mut out = Vec::new();
        let taken = match frame.of {
            _ if frame.sender != self.peer => Err(Dropped::OtherSender),
            FrameType::Channel => self.handshake(stranger, now, frame.payload, rng, &mut out),
            FrameType::Consensus => self
                .consensus(frame.payload)
                .map(|message| out.push(Effect::Deliver(message))),
            FrameType::Forwarded => self
                .forwarded(frame.payload)
                .map(|message| out.push(Effect::Deliver(message))),
            FrameType::Unknown(found) => Err(Dropped::UnknownType { found }),
        };
        match taken {
            Ok(()) => {
                self.traffic = Some(now);
                self.mind_the_limit(now, rng, &mut out);
            }
            Err(why) => {
                // The peer may have keys that this side has not: a handshake of which half was lost.
                let has_other_keys = matches!(why, Dropped::NoKey | Dropped::Tag);
                out.push(Effect::Drop(why));
                let wait = match self.stage {
                    Stage::Initiated { .. } => self.gap(),
                    _ => self.settings.heal,
                };
                if has_other_keys && self.is_due(now, wait) {
                    self.initiate(now, rng, &mut out);
                }
            }
        }
        out
    }

    /// Frames may have been lost: with a connection, say, and there is another now.
    ///
    /// A response or final that the peer has already is dropped there. One that it does not have would never be asked for.
    pub fn reconnected(&mut self, now: Duration, rng: &mut impl CryptoRng) -> Vec<Effect<'static>> {
        let mut out = Vec::new();
        match &self.stage {
            Stage::Initiated { .. } if self.is_due(now, self.settings.repeat) => self.initiate(now, rng, &mut out),
            Stage::Initiated { .. } => {}
            _ => out.extend(self.resend.clone().map(Effect::Send)),
        }
        out
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration, rng: &mut impl CryptoRng) -> Vec<Effect<'static>> {
        let mut out = Vec::new();
        if self
            .traffic
            .is_some_and(|since| now.saturating_sub(since) >= self.settings.idle)
        {
            self.traffic = None;
            self.stage = Stage::Quiet;
            self.held = Held::default();
            self.resend = None;
            self.visitors.clear();
            self.attempts = 0;
            self.drop_keys(Closed::Idle, &mut out);
        }
        let is_due = match &self.stage {
            Stage::Quiet => false,
            Stage::Initiated { .. } => self.is_due(now, self.gap()),
            Stage::Answered { at, .. } => now.saturating_sub(*at) >= self.settings.heal,
        };
        if is_due {
            self.initiate(now, rng, &mut out);
        }
        out
    }

    /// Whether the last init is at least so long ago.
    fn is_due(&self, now: Duration, wait: Duration) -> bool {
        self.initiated_at.is_none_or(|at| now.saturating_sub(at) >= wait)
    }

    /// How long an answer to the last init is waited for.
    fn gap(&self) -> Duration {
        let doubled = self.attempts.saturating_sub(1) / 4;
        self.settings.repeat.saturating_mul(1 << doubled.min(3))
    }

    fn initiate(&mut self, now: Duration, rng: &mut impl CryptoRng, out: &mut Vec<Effect<'_>>) {
        let ephemeral = EphemeralKey::generate(rng);
        let share = Share::of(&ephemeral);
        let mut salt = [0; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        let init = Handshake::Init {
            share,
            signature: &handshake::sign(&self.own.key, &[&share]),
            certificate: self.own.certificate.as_bytes(),
            salt: &salt,
        };
        self.write(FrameType::Channel, &[&init.encode()], out);
        self.stage = Stage::Initiated { ephemeral, share, salt };
        self.initiated_at = Some(now);
        self.attempts = self.attempts.saturating_add(1);
        self.traffic.get_or_insert(now);
    }

    fn handshake(
        &mut self,
        stranger: bool,
        now: Duration,
        payload: &[u8],
        rng: &mut impl CryptoRng,
        out: &mut Vec<Effect<'_>>,
    ) -> Result<(), Dropped> {
        match Handshake::parse(payload)? {
            Handshake::Init {
                share,
                signature,
                certificate,
                salt,
            } => {
                if matches!(self.stage, Stage::Initiated { .. }) && self.own.id > self.peer {
                    // It lives, and may not have been there when ours was sent.
                    if self.is_due(now, self.settings.repeat) {
                        self.initiate(now, rng, out);
                    }
                    return Err(Dropped::LesserInit);
                }
                let peer = handshake::peer_key(certificate, &self.peer, &self.own.service)?;
                handshake::verify(&peer, &[&share], signature)?;
                let answered = self.answer(share, salt, peer, rng, out)?;
                if stranger {
                    self.visitors.enter(answered);
                    return Ok(());
                }
                self.resend = sent(out);
                self.send = Some(answered.send);
                self.stage = Stage::Answered {
                    share: answered.own,
                    peer: answered.peer,
                    receive: answered.receive,
                    at: now,
                };
                self.flush(out);
                Ok(())
            }
            Handshake::Response {
                share,
                signature,
                certificate,
            } => {
                let Stage::Initiated {
                    ephemeral,
                    share: own,
                    salt,
                } = &self.stage
                else {
                    return Err(Dropped::UnexpectedResponse);
                };
                let peer = handshake::peer_key(certificate, &self.peer, &self.own.service)?;
                handshake::verify(&peer, &[&share, own], signature)?;
                let agreed = Agreed::new(ephemeral, &share, salt)?;
                self.send = Some(SendKey::new(&agreed.key(&self.own.id, &self.peer)));
                let answer = Handshake::Final {
                    signature: &handshake::sign(&self.own.key, &[&share]),
                };
                self.write(FrameType::Channel, &[&answer.encode()], out);
                self.resend = sent(out);
                self.establish(ReceiveKey::new(&agreed.key(&self.peer, &self.own.id)), out);
                self.flush(out);
                Ok(())
            }
            Handshake::Final { signature } => {
                if let Some(visitor) = self.visitors.proven_by(signature) {
                    self.resend = None;
                    self.send = Some(visitor.send);
                    self.establish(visitor.receive, out);
                    self.flush(out);
                    return Ok(());
                }
                let Stage::Answered { share, peer, .. } = &self.stage else {
                    return Err(Dropped::UnexpectedFinal);
                };
                handshake::verify(peer, &[share], signature)?;
                self.resend = None;
                if let Stage::Answered { receive, .. } = std::mem::replace(&mut self.stage, Stage::Quiet) {
                    self.establish(receive, out);
                }
                Ok(())
            }
        }
    }

    /// Answers an init that is good and counts: with which keys, if a final follows.
    fn answer(
        &self,
        theirs: Share,
        salt: &[u8; SALT_BYTES],
        peer: VerifyingKey,
        rng: &mut impl CryptoRng,
        out: &mut Vec<Effect<'_>>,
    ) -> Result<Visitor, Dropped> {
        let fresh;
        let ephemeral = match &self.stage {
            // As real nodes do: the loser of two that crossed answers with the key of its own init.
            Stage::Initiated { ephemeral, .. } => ephemeral,
            _ => {
                fresh = EphemeralKey::generate(rng);
                &fresh
            }
        };
        let own = Share::of(ephemeral);
        let agreed = Agreed::new(ephemeral, &theirs, salt)?;
        let response = Handshake::Response {
            share: own,
            signature: &handshake::sign(&self.own.key, &[&own, &theirs]),
            certificate: self.own.certificate.as_bytes(),
        };
        self.write(FrameType::Channel, &[&response.encode()], out);
        Ok(Visitor {
            theirs,
            own,
            peer,
            send: SendKey::new(&agreed.key(&self.own.id, &self.peer)),
            receive: ReceiveKey::new(&agreed.key(&self.peer, &self.own.id)),
        })
    }

    /// The handshake is complete.
    fn establish(&mut self, receive: ReceiveKey, out: &mut Vec<Effect<'_>>) {
        self.receive = Some(receive);
        self.stage = Stage::Quiet;
        self.attempts = 0;
        out.push(Effect::Established);
    }

    fn consensus<'f>(&mut self, payload: &'f [u8]) -> Result<Message<'f>, Dropped> {
        let (message, envelope) = Consensus::parse(payload)?;
        let receive = self.receive.as_mut().ok_or(Dropped::NoKey)?;
        receive.open(&envelope, &[])?;
        Ok(Message::Consensus(message, envelope.rest))
    }

    fn forwarded(&mut self, payload: &[u8]) -> Result<Message<'static>, Dropped> {
        let envelope = Forwarded::envelope(payload)?;
        let receive = self.receive.as_mut().ok_or(Dropped::NoKey)?;
        let plaintext = receive.open(&envelope, envelope.rest)?;
        Forwarded::parse(envelope.header, &plaintext).map(Message::Forwarded)
    }

    /// New keys at half of what the present ones are good for; none at all of it.
    fn mind_the_limit(&mut self, now: Duration, rng: &mut impl CryptoRng, out: &mut Vec<Effect<'_>>) {
        // Below 2, every handshake would ask for the next.
        let limit = self.settings.message_limit.max(2);
        let sent = self.send.as_ref().map_or(0, SendKey::sent);
        let used = sent.saturating_add(self.receive.as_ref().map_or(0, ReceiveKey::last));
        if used >= limit {
            self.drop_keys(Closed::Limit, out);
            if matches!(self.stage, Stage::Answered { .. }) {
                self.stage = Stage::Quiet;
            }
            if matches!(self.stage, Stage::Quiet) {
                self.initiate(now, rng, out);
            }
        } else if used >= limit / 2 && self.is_established() && matches!(self.stage, Stage::Quiet) {
            self.initiate(now, rng, out);
        }
    }

    fn drop_keys(&mut self, why: Closed, out: &mut Vec<Effect<'_>>) {
        self.send = None;
        self.receive = None;
        out.push(Effect::Closed(why));
    }

    /// Sends what has waited for a key.
    fn flush(&mut self, out: &mut Vec<Effect<'_>>) {
        while let Some(parts) = self.held.pop() {
            self.seal(&parts, out);
        }
    }

    /// Sends a message under the send key, which is there.
    fn seal(&mut self, parts: &Parts<'_>, out: &mut Vec<Effect<'_>>) {
        let Some(send) = &mut self.send else { return };
        match send.seal(&parts.header, &parts.plaintext) {
            Ok(sealed) => self.write(parts.of, &[&parts.header, &sealed, &parts.entries], out),
            Err(why) => out.push(Effect::Unsent(Unsent::NotSealed(why))),
        }
    }

    fn write(&self, of: FrameType, parts: &[&[u8]], out: &mut Vec<Effect<'_>>) {
        let mut frame = Vec::new();
        let max = self.settings.max_frame_bytes;
        match Frame::write(of, &self.own.id, parts, max, &mut frame) {
            Ok(()) => out.push(Effect::Send(frame)),
            Err(_) => {
                let bytes = HEADER_BYTES + parts.iter().map(|part| part.len()).sum::<usize>();
                out.push(Effect::Unsent(Unsent::TooLong { bytes, max }));
            }
        }
    }
}

/// The frame that was just sent.
fn sent(out: &[Effect<'_>]) -> Option<Vec<u8>> {
    match out.last() {
        Some(Effect::Send(frame)) => Some(frame.clone()),
        _ => None,
    }
}
