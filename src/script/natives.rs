//! What scripts find in their world: `ccf`, `console`, `snp_attestation` (recovery specification, section 4.5).
//!
//! `prelude.js` builds the objects; the functions here are all that it has of the outside. Their arguments are texts,
//! bytes as base64: the interpreter's buffers can't be read safely while it owns them.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rquickjs::context::EvalOptions;
use rquickjs::function::Rest;
use rquickjs::{Array, ArrayBuffer, Ctx, Exception, Function, IntoJs, Object, Value};

use super::host::Host;
use super::serve::{Effect, Operation, Reply, Request};
use super::{bytecode, certificates, one_line, tcb};
use crate::crypto::digest::sha256;
use crate::tables::names;
use crate::tables::values::Base64;

const PRELUDE: &str = include_str!("prelude.js");

type Answer<'js> = rquickjs::Result<Value<'js>>;
/// Arguments of a native function; `None` is undefined.
type Texts<'a> = &'a [Option<String>];

/// What looks at a proposed constitution: an error says what is wrong with it.
pub(super) type Checker = fn(&Rc<Host>, &str) -> Result<(), String>;

/// How far a script gets from its interpreter.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    /// To tables and effects, as far as its access allows, and to what looks at constitutions.
    Node(Checker),
    /// Nowhere: it is looked at, not run.
    Nothing,
}

/// Prepares the global object of a fresh context.
pub(super) fn install(ctx: &Ctx<'_>, host: &Rc<Host>, reach: Reach) -> rquickjs::Result<()> {
    let natives = Object::new(ctx.clone())?;
    let applying = matches!(reach, Reach::Node(_)) && host.access == super::access::Access::ReadWrite;
    natives.set("applying", applying)?;
    match reach {
        Reach::Node(checker) => node(&natives, host, checker)?,
        Reach::Nothing => {
            for name in ["table", "effect", "checkConstitution", "refreshBytecode"] {
                define(&natives, name, |ctx, _| {
                    Err(Exception::throw_message(
                        ctx,
                        "a script that is being checked reaches nothing",
                    ))
                })?;
            }
        }
    }
    define(&natives, "toBuffer", |ctx, texts| {
        ArrayBuffer::new_copy(ctx.clone(), text(ctx, texts, 0)?.as_bytes())?.into_js(ctx)
    })?;
    define(&natives, "toText", |ctx, texts| {
        String::from_utf8_lossy(&bytes(ctx, texts, 0)?).into_js(ctx)
    })?;
    define(&natives, "sha256", |ctx, texts| {
        ArrayBuffer::new_copy(ctx.clone(), sha256(&bytes(ctx, texts, 0)?))?.into_js(ctx)
    })?;
    define(&natives, "isBundle", |ctx, texts| {
        certificates::is_bundle(text(ctx, texts, 0)?).into_js(ctx)
    })?;
    define(&natives, "isChain", |ctx, texts| {
        certificates::is_chain(text(ctx, texts, 0)?, text(ctx, texts, 1)?).into_js(ctx)
    })?;
    define(&natives, "certificateId", |ctx, texts| {
        certificates::id(text(ctx, texts, 0)?)
            .map_err(|why| Exception::throw_internal(ctx, &format!("Failed to parse PEM: {why}")))?
            .into_js(ctx)
    })?;
    define(&natives, "tcbPolicy", |ctx, texts| {
        tcb::policy(text(ctx, texts, 0)?, text(ctx, texts, 1)?)
            .map_err(|why| Exception::throw_internal(ctx, &why))?
            .into_js(ctx)
    })?;
    define(&natives, "random", |ctx, _| random(ctx))?;
    let logs = Rc::clone(host);
    define(&natives, "log", move |ctx, texts| {
        logs.log(text(ctx, texts, 0)?, &one_line(text(ctx, texts, 1)?));
        ().into_js(ctx)
    })?;
    let mut options = EvalOptions::default();
    options.filename = Some("prelude".to_owned());
    ctx.eval_with_options::<Function, _>(PRELUDE, options)?.call((natives,))
}

/// What leads to the node.
fn node<'js>(natives: &Object<'js>, host: &Rc<Host>, checker: Checker) -> rquickjs::Result<()> {
    let asks = Rc::clone(host);
    define(natives, "table", move |ctx, texts| table(ctx, &asks, texts))?;
    let asks = Rc::clone(host);
    define(natives, "effect", move |ctx, texts| effect(ctx, &asks, texts))?;
    let asks = Rc::clone(host);
    define(natives, "refreshBytecode", move |ctx, _| refresh_bytecode(ctx, &asks))?;
    let checks = Rc::clone(host);
    define(natives, "checkConstitution", move |ctx, texts| {
        checker(&checks, text(ctx, texts, 0)?)
            .map_err(|why| Exception::throw_type(ctx, &why))?
            .into_js(ctx)
    })
}

/// Compiles the application, and forgets the bytecode of the one before.
fn refresh_bytecode<'js>(ctx: &Ctx<'js>, host: &Host) -> Answer<'js> {
    if let Some(Reply::Entries(entries)) = host.ask(Request::Table(names::MODULES.to_owned(), Operation::Entries)) {
        let named = |(name, source): (Base64, Base64)| (String::from_utf8_lossy(&name.0).into_owned(), source.0);
        let modules = Rc::new(entries.into_iter().map(named).collect());
        bytecode::compile(host, &modules)
            .map_err(|why| Exception::throw_internal(ctx, &format!("Failed to refresh bytecode: {why}")))?;
    }
    ask(ctx, host, Request::Effect(Effect::ForgetBytecode))
}

/// Gives `object` a function of texts.
fn define<'js>(
    object: &Object<'js>,
    name: &str,
    native: impl Fn(&Ctx<'js>, Texts<'_>) -> Answer<'js> + 'js,
) -> rquickjs::Result<()> {
    let function = move |ctx: Ctx<'js>, Rest(arguments): Rest<Value<'js>>| -> Answer<'js> {
        let as_text = |argument: Value<'js>| match argument.as_string() {
            Some(string) => string.to_string().map(Some),
            None => Ok(None),
        };
        let texts: Vec<_> = arguments.into_iter().map(as_text).collect::<rquickjs::Result<_>>()?;
        native(&ctx, &texts)
    };
    object.set(name, Function::new(object.ctx().clone(), function)?)
}

/// An argument that must be a text.
fn text<'a>(ctx: &Ctx<'_>, texts: Texts<'a>, index: usize) -> rquickjs::Result<&'a str> {
    texts
        .get(index)
        .and_then(Option::as_deref)
        .ok_or_else(|| Exception::throw_type(ctx, "Argument must be a string"))
}

/// An argument that must be bytes.
fn bytes(ctx: &Ctx<'_>, texts: Texts<'_>, index: usize) -> rquickjs::Result<Vec<u8>> {
    STANDARD
        .decode(text(ctx, texts, index)?)
        .map_err(|_| Exception::throw_type(ctx, "Argument must be an ArrayBuffer"))
}

/// `table(method, name, key?, value?)`.
fn table<'js>(ctx: &Ctx<'js>, host: &Host, texts: Texts<'_>) -> Answer<'js> {
    let key = || bytes(ctx, texts, 2).map(Base64);
    let operation = match text(ctx, texts, 0)? {
        "get" => Operation::Get(key()?),
        "has" => Operation::Has(key()?),
        "set" => Operation::Set(key()?, Base64(bytes(ctx, texts, 3)?)),
        "delete" => Operation::Delete(key()?),
        "clear" => Operation::Clear,
        "entries" => Operation::Entries,
        "size" => Operation::Size,
        "version" => Operation::Version(key()?),
        other => return Err(unknown(ctx, other)),
    };
    ask(ctx, host, Request::Table(text(ctx, texts, 1)?.to_owned(), operation))
}

/// `effect(name, ...)`.
fn effect<'js>(ctx: &Ctx<'js>, host: &Host, texts: Texts<'_>) -> Answer<'js> {
    let owned = |index| text(ctx, texts, index).map(str::to_owned);
    let days = |index| {
        text(ctx, texts, index)?
            .parse()
            .map_err(|_| Exception::throw_range(ctx, "the validity period must be a whole number of days"))
    };
    let effect = match text(ctx, texts, 0)? {
        "open" => Effect::Open {
            previous: texts.get(1).cloned().flatten(),
            next: owned(2)?,
        },
        "rekey" => Effect::Rekey,
        "refreshShares" => Effect::RefreshShares,
        "chunk" => Effect::Chunk,
        "snapshot" => Effect::Snapshot,
        "latestSecretSeqno" => Effect::LatestSecretSeqno,
        "endorse" => Effect::Endorse {
            csr: owned(1)?,
            valid_from: owned(2)?,
            days: days(3)?,
        },
        "renewService" => Effect::RenewService {
            valid_from: owned(1)?,
            days: days(2)?,
        },
        "setJwtKeys" => Effect::SetJwtKeys {
            issuer: owned(1)?,
            keys: owned(2)?,
        },
        "removeJwtKeys" => Effect::RemoveJwtKeys { issuer: owned(1)? },
        other => return Err(unknown(ctx, other)),
    };
    ask(ctx, host, Request::Effect(effect))
}

fn unknown(ctx: &Ctx<'_>, name: &str) -> rquickjs::Error {
    Exception::throw_type(ctx, &format!("there is no {name} here"))
}

/// Asks the node, and throws what it denies.
fn ask<'js>(ctx: &Ctx<'js>, host: &Host, request: Request) -> Answer<'js> {
    let buffer = |bytes: &[u8]| ArrayBuffer::new_copy(ctx.clone(), bytes)?.into_js(ctx);
    match host.ask(request) {
        None => Err(Exception::throw_message(
            ctx,
            "the node does not wait for this script any more",
        )),
        Some(Reply::Nothing) => ().into_js(ctx),
        Some(Reply::Bytes(value)) => buffer(&value.0),
        Some(Reply::Flag(flag)) => flag.into_js(ctx),
        Some(Reply::Number(number)) => (number as f64).into_js(ctx),
        Some(Reply::Text(text)) => text.into_js(ctx),
        Some(Reply::Entries(entries)) => {
            let list = Array::new(ctx.clone())?;
            for (index, (key, value)) in entries.into_iter().enumerate() {
                let entry = Array::new(ctx.clone())?;
                entry.set(0, buffer(&key.0)?)?;
                entry.set(1, buffer(&value.0)?)?;
                list.set(index, entry)?;
            }
            list.into_js(ctx)
        }
        Some(Reply::Denied(why)) => Err(Exception::throw_type(ctx, &why)),
        Some(Reply::Failed(why)) => Err(Exception::throw_internal(ctx, &why)),
    }
}

/// A number in [0, 1) that cannot be guessed.
fn random<'js>(ctx: &Ctx<'js>) -> Answer<'js> {
    let number = getrandom::u64().map_err(|_| Exception::throw_message(ctx, "no random number could be had"))?;
    // 53 bits are what a float holds.
    ((number >> 11) as f64 / (1_u64 << 53) as f64).into_js(ctx)
}

/// A line of a script's console, on one line of the log whatever it holds.
pub(super) fn log(level: &str, line: &str) {
    let line = one_line(line);
    match level {
        "error" => tracing::error!(target: "governance_script", "{line}"),
        "warn" => tracing::warn!(target: "governance_script", "{line}"),
        "debug" => tracing::debug!(target: "governance_script", "{line}"),
        _ => tracing::info!(target: "governance_script", "{line}"),
    }
}
