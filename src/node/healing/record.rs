//! The transaction of one step. Recovery specification, sections 7.2 and 7.4.

use std::sync::Arc;

use crate::heal::{Effect, Generation, Record, tables};
use crate::http::ApiError;
use crate::kv::store::Transaction;
use crate::node::session::Session;
use crate::node::shared::Node;
use crate::node::writer::NotWritten;
use crate::script::Effects;
use crate::service::value;
use crate::tables::names;

/// Whose turn it is among those who write.
const CALLER: &str = "self-healing open";

/// What a step leaves in the ledger.
#[derive(Clone, Debug, Default)]
pub struct Step {
    records: Vec<Record>,
    opens: bool,
}

impl Step {
    /// Of these effects.
    pub fn of(effects: &[Effect]) -> Step {
        let records = effects.iter().filter_map(|effect| match effect {
            Effect::Record(record) => Some(record.clone()),
            _ => None,
        });
        Step {
            records: records.collect(),
            opens: effects.iter().any(|effect| matches!(effect, Effect::Open(_))),
        }
    }

    /// Writes it, and waits until it is committed. Nothing is written where there is nothing.
    ///
    /// # Errors
    /// [`NotWritten`]; in CCF's words where the service can't be opened.
    pub async fn commit(self, node: &Arc<Node>, generation: Generation) -> Result<(), NotWritten<ApiError>> {
        if self.records.is_empty() && !self.opens {
            return Ok(());
        }
        let writer = node.writer.get().ok_or(NotWritten::Gone)?;
        let write = move |transaction: &mut Transaction<'_>, session: &mut Session| {
            self.write(transaction, session, generation)
                .map_err(|why| ApiError::internal(format!("Failed to advance {} state: {why}", generation.title())))
        };
        let ((), txid) = writer.transact(CALLER, write).await?;
        node.status.until_committed(txid.seqno).await;
        Ok(())
    }

    fn write(
        &self,
        transaction: &mut Transaction<'_>,
        session: &mut Session,
        generation: Generation,
    ) -> Result<(), String> {
        for record in &self.records {
            tables::write(transaction, generation, record);
        }
        session.afterwards.sign = true;
        if self.opens {
            let previous: Option<String> = value(transaction, names::PREVIOUS_SERVICE_IDENTITY);
            let next = session.service.certificate.to_pem();
            session.transition_service_to_open(transaction, previous.as_deref(), &next)?;
        }
        Ok(())
    }
}
