//! What was seen of the pods of gangs, and what follows from it. Pure: judged from a recording.

use std::time::Duration;

use serde_json::{Value, json};

use crate::checks::probe;
use crate::cluster::{Recording, Sight};

/// The label that names a pod's gang.
pub(super) const GANG: &str = "seatrial.dev/gang";

/// One pod of a gang at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodSight {
    /// Its name.
    pub(super) name: String,
    /// Its gang.
    pub(super) gang: String,
    /// The node that it is placed on, where its GPUs are taken from.
    pub(super) node: Option<String>,
    /// `status.phase`.
    pub(super) phase: String,
    /// Why its container cannot start, where waiting will not help.
    pub(super) image: Option<String>,
    /// Why it is not placed, as the scheduler says.
    pub(super) refusal: Option<String>,
}

impl PodSight {
    /// Reads a pod.
    pub(super) fn of(pod: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            name: text(&pod["metadata"]["name"]).unwrap_or_default(),
            gang: text(&pod["metadata"]["labels"][GANG]).unwrap_or_default(),
            node: text(&pod["spec"]["nodeName"]).filter(|node| !node.is_empty()),
            phase: text(&pod["status"]["phase"]).unwrap_or_default(),
            image: probe::image_trouble(pod),
            refusal: probe::unschedulable(pod).map(str::to_owned),
        }
    }

    /// True if it holds its GPUs: it is placed and has not ended.
    pub(super) fn holds(&self) -> bool {
        self.node.is_some() && !matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}

/// A recording of pods.
pub(super) type Timeline = Recording<PodSight>;

/// The pods of a gang as they were last seen.
pub(super) fn pods(timeline: &Timeline, gang: &str) -> Vec<PodSight> {
    timeline.latest().into_iter().filter(|pod| pod.gang == gang).collect()
}

/// How many pods of a gang hold GPUs.
pub(super) fn holding(timeline: &Timeline, gang: &str) -> usize {
    pods(timeline, gang).iter().filter(|pod| pod.holds()).count()
}

/// When the first and the last pod of a gang were seen to hold GPUs.
pub(super) fn placed_at(timeline: &Timeline, gang: &str) -> Option<(Duration, Duration)> {
    let mut firsts: Vec<(&str, Duration)> = Vec::new();
    for sight in of_gang(timeline, gang).filter(|sight| !sight.gone && sight.what.holds()) {
        if !firsts.iter().any(|(uid, _)| *uid == sight.uid) {
            firsts.push((&sight.uid, sight.at));
        }
    }
    Some((firsts.first()?.1, firsts.last()?.1))
}

/// What became of a gang that must not be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// None of its pods ever held a GPU, and the watch that says so is whole from its submission to the control's pods.
    Seen,
    /// A pod of it held GPUs.
    Held(String),
    /// The watch had to begin anew in between.
    Broken,
    /// Nothing of the control was seen after it, so nobody knows whether the watch still told anything.
    Blind,
}

/// Judges that a gang, submitted at `from`, held nothing until the first pod of the control was seen.
///
/// The API server tells changes of one kind in their order. So what had been placed before the control's pods were made would have been told
/// before them: seeing them proves that the watch was alive, and that there was nothing to tell.
pub(super) fn refused(timeline: &Timeline, gang: &str, control: &str, from: Duration) -> Refusal {
    let Some(index) = timeline.sights.iter().position(|sight| sight.what.gang == control && sight.at >= from) else {
        return Refusal::Blind;
    };
    let until = timeline.sights[index].at;
    if let Some(pod) = timeline.sights[..index].iter().find(|sight| sight.what.gang == gang && sight.at >= from && sight.what.holds()) {
        return Refusal::Held(pod.what.name.clone());
    }
    if timeline.breaks.iter().any(|at| *at >= from && *at <= until) {
        return Refusal::Broken;
    }
    Refusal::Seen
}

/// What became of two gangs of which only one fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contest {
    /// The first of the names has all its pods placed, the other none.
    Won(String, String),
    /// One has all its pods placed, and the other holds some beside it.
    Greedy(String, String, usize),
    /// Both hold some, neither all.
    Deadlock(usize, usize),
    /// Neither has all its pods placed yet.
    Open,
}

/// Judges two gangs of a size, of which only one fits.
pub(super) fn contest(timeline: &Timeline, [left, right]: [&str; 2], size: usize) -> Contest {
    let (a, b) = (holding(timeline, left), holding(timeline, right));
    match (a == size, b == size) {
        (true, _) if b == 0 => Contest::Won(left.to_owned(), right.to_owned()),
        (_, true) if a == 0 => Contest::Won(right.to_owned(), left.to_owned()),
        (true, _) => Contest::Greedy(left.to_owned(), right.to_owned(), b),
        (_, true) => Contest::Greedy(right.to_owned(), left.to_owned(), a),
        _ if a > 0 && b > 0 => Contest::Deadlock(a, b),
        _ => Contest::Open,
    }
}

fn of_gang<'a>(timeline: &'a Timeline, gang: &'a str) -> impl Iterator<Item = &'a Sight<PodSight>> {
    timeline.sights.iter().filter(move |sight| sight.what.gang == gang)
}

/// The recording as an artifact: one line per change.
pub(super) fn artifact(timeline: &Timeline) -> Value {
    let line = |sight: &Sight<PodSight>| {
        let pod = &sight.what;
        let state = if sight.gone { "gone" } else { pod.phase.as_str() };
        let place = pod.node.as_deref().unwrap_or("-");
        format!("{:.3}s {} {} on {place}: {state}", sight.at.as_secs_f64(), pod.gang, pod.name)
    };
    let breaks: Vec<f64> = timeline.breaks.iter().map(Duration::as_secs_f64).collect();
    json!({"changes": timeline.sights.iter().map(line).collect::<Vec<_>>(), "breaks": breaks})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `time gang pod state`, where the state is `waits`, `placed`, `failed` or `gone`.
    fn timeline(lines: &[&str], breaks: &[u64]) -> Timeline {
        let sights = lines.iter().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [at, gang, pod, state] = words[..] else { panic!("{line}") };
            let placed = state != "waits";
            Sight {
                at: Duration::from_millis(at.parse().expect("milliseconds")),
                uid: pod.to_owned(),
                gone: state == "gone",
                what: PodSight {
                    name: pod.to_owned(),
                    gang: gang.to_owned(),
                    node: placed.then(|| "n".to_owned()),
                    phase: if state == "failed" { "Failed" } else { "Pending" }.to_owned(),
                    image: None,
                    refusal: None,
                },
            }
        });
        Timeline { sights: sights.collect(), breaks: breaks.iter().map(|at| Duration::from_millis(*at)).collect(), ..Timeline::default() }
    }

    #[test]
    fn the_spread_is_from_the_first_pod_to_the_last() {
        let seen = timeline(&["10 a p0 waits", "40 a p0 placed", "50 a p1 placed", "90 a p0 placed"], &[]);
        assert_eq!(placed_at(&seen, "a"), Some((Duration::from_millis(40), Duration::from_millis(50))));
        assert_eq!(holding(&seen, "a"), 2);
        assert_eq!(placed_at(&seen, "b"), None);
    }

    #[test]
    fn a_pod_that_failed_or_is_gone_holds_nothing() {
        assert_eq!(holding(&timeline(&["1 a p0 failed", "2 a p1 placed", "3 a p1 gone"], &[]), "a"), 0);
    }

    #[test]
    fn a_refusal_is_seen_only_if_nothing_was_held_and_the_watch_was_whole_and_alive() {
        let from = Duration::from_millis(100);
        let judged = |lines: &[&str], breaks: &[u64]| refused(&timeline(lines, breaks), "b", "c", from);
        let quiet = ["110 b p0 waits", "120 b p1 waits", "900 c q0 waits", "910 c q0 placed"];
        assert_eq!(judged(&quiet, &[]), Refusal::Seen);
        assert_eq!(judged(&quiet, &[50, 2000]), Refusal::Seen, "breaks before and after do not matter");
        assert_eq!(judged(&quiet, &[500]), Refusal::Broken);
        assert_eq!(judged(&quiet[..2], &[]), Refusal::Blind);
        assert_eq!(judged(&["110 b p0 placed", "900 c q0 waits"], &[]), Refusal::Held("p0".to_owned()));
        assert_eq!(
            judged(&["110 b p0 placed", "130 b p0 gone", "900 c q0 waits"], &[500]),
            Refusal::Held("p0".to_owned()),
            "for a moment is enough"
        );
        assert_eq!(judged(&["900 c q0 waits", "950 b p0 placed"], &[]), Refusal::Seen, "after the window it is another matter");
    }

    #[test]
    fn of_two_gangs_one_has_everything_and_the_other_nothing() {
        let judged = |lines: &[&str]| contest(&timeline(lines, &[]), ["x", "y"], 2);
        assert_eq!(judged(&["1 x a placed", "2 x b placed", "3 y c waits"]), Contest::Won("x".to_owned(), "y".to_owned()));
        assert_eq!(judged(&["1 y a placed", "2 y b placed"]), Contest::Won("y".to_owned(), "x".to_owned()));
        assert_eq!(judged(&["1 x a placed", "2 y c placed"]), Contest::Deadlock(1, 1));
        assert_eq!(judged(&["1 x a placed", "2 x b placed", "3 y c placed"]), Contest::Greedy("x".to_owned(), "y".to_owned(), 1));
        assert_eq!(judged(&["1 x a placed"]), Contest::Open);
        assert_eq!(judged(&[]), Contest::Open);
    }
}
