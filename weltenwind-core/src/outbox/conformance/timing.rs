use tokio::task::JoinSet;

use super::{Duration, How, Ports, at, job, now, numbers, request};
use crate::outbox::model::{Due, OutboxStats, ScheduleRow};

/// By a pause or until an instant.
pub async fn jobs_for_later_wait(ports: &Ports) {
    let hour = Duration::from_hours(1);
    ports.write(&[job(1).due(Due::After(hour)), job(2).due(Due::At(now() + hour)), job(3)]).await;

    assert_eq!(numbers(&ports.claim(10).await), [3]);
    ports.time.pass(Duration::from_mins(59)).await;
    assert_eq!(ports.claim(10).await, []);
    ports.time.pass(Duration::from_secs(90)).await;
    assert_eq!(numbers(&ports.claim(10).await), [1, 2]);
}

/// By how it stands.
pub async fn what_there_is_is_counted(ports: &Ports) {
    let stats = async || ports.outbox.stats(now()).await.expect("the store works");
    let empty = stats().await;
    let none = OutboxStats { oldest_snapshot: empty.oldest_snapshot, ..OutboxStats::default() };
    assert_eq!(empty, none);
    ports.write(&[job(1), job(2), job(3), job(4).due(Due::After(Duration::from_hours(9)))]).await;
    ports.write(&[job(5).in_order_of("a"), job(6).in_order_of("a"), job(7).in_order_of("a")]).await;
    let held = ports.claim(2).await;
    ports.settle([held[0].lease], How::Buried { error: "it floods".to_owned() }).await;
    ports.time.pass(Duration::from_secs(20)).await;

    let counted = stats().await;

    assert_eq!((counted.due, counted.later, counted.leased, counted.dead), (2, 1, 1, 1));
    assert_eq!(counted.behind, 2);
    assert!((20..60).contains(&counted.oldest_due.as_secs()), "{counted:?}");
}

/// However many processes know it, with its job, or not at all.
pub async fn a_schedule_is_moved_on_by_one(ports: &Ports) {
    let row = |minutes| ScheduleRow {
        name: "nightly".to_owned(),
        spec: "0 3 * * * UTC".to_owned(),
        next_at: at(60 * minutes),
    };
    let names = ["nightly".to_owned(), "unknown".to_owned()];
    let race = async |was: Option<ScheduleRow>, minutes: i64| {
        let mut racers = JoinSet::new();
        for n in 0..8 {
            let (ports, was) = (ports.clone(), was.clone());
            racers.spawn(async move {
                let job = was.is_some().then(|| job(n));
                let moved = ports.outbox.advance(was.as_ref(), &row(minutes), job.as_ref(), &request(), now()).await;
                moved.expect("the store works")
            });
        }
        racers.join_all().await.into_iter().filter(|moved| *moved).count()
    };

    assert_eq!(ports.outbox.schedules(&names).await.expect("the store works"), []);
    assert_eq!((race(None, 1).await, ports.live().await.len()), (1, 0));
    assert_eq!(ports.outbox.schedules(&names).await.expect("the store works"), [row(1)]);
    assert_eq!((race(Some(row(1)), 2).await, ports.live().await.len()), (1, 1));
    assert_eq!((race(Some(row(1)), 3).await, ports.live().await.len()), (0, 1));
    assert_eq!(ports.outbox.schedules(&names).await.expect("the store works"), [row(2)]);
}
