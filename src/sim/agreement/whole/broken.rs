//! What tests break.

use super::super::tests::Broken;
use super::*;

impl Whole {
    pub(super) fn is_left_out(&self, operation: &Operation) -> bool {
        match operation {
            Operation::Cut { .. } | Operation::Remove { .. } => self.broken == Some(Broken::FilesKeepTheTail),
            Operation::Sync { .. } => self.broken == Some(Broken::SyncIsNotMade),
            _ => false,
        }
    }

    pub(super) fn keys<'k>(&self, ground: &'k Founded) -> &'k dyn Keys {
        match self.broken {
            Some(Broken::TagsAreNotChecked) => &crate::recovery::writes::NoKeys,
            _ => &ground.secrets,
        }
    }

    pub(super) fn bring_state_along(&mut self, effects: &mut [Effect]) {
        if self.broken != Some(Broken::StateKeepsTheTail) {
            state_after(effects, &mut self.store);
            return;
        }
        for effect in effects {
            if let Effect::Announce(Announcement::Applied { txid, writes, private }) = effect {
                self.store.apply(txid.seqno, writes);
                self.store.take_private(private.clone());
            }
        }
    }
}
