//! Views: they never fall, and rise by elections and recoveries alone.

use super::Joiner;
use crate::recovery::scan::{MAX_VIEW, MAX_VIEW_STEP, SegmentScan, ViewStep, is_sound_step};
use crate::report::Code;

impl Joiner<'_> {
    /// Views never fall, and rise by elections and recoveries alone.
    pub(super) fn judge_views(&mut self, scan: &mut SegmentScan) {
        let segment = &scan.segment;
        let first = scan.first_view.map(|view| ViewStep {
            seqno: segment.from,
            offset: segment.offset,
            view,
            before: self.last_view,
        });
        let steps = std::mem::take(&mut scan.view_steps);
        for step in first.into_iter().chain(steps) {
            let ViewStep { view, before, .. } = step;
            if is_sound_step(before, view) {
                continue;
            }
            let (code, text) = if view < before {
                let text = format!("the view is {view}, the entry before has {before}");
                (Code::ViewGoesBack, text)
            } else {
                let text = format!(
                    "the view is {view}, the entry before has {before}: expected at most {MAX_VIEW_STEP} more, and {MAX_VIEW} in all"
                );
                (Code::ViewTooHigh, text)
            };
            self.report(code, text, scan.segment.chunk_index, step.offset, step.seqno);
        }
    }
}
