use tokio::task::JoinSet;

use super::{Ports, account, at, guest, hash, id, open_guest, registration, seen, session, step, step_with_key};
use crate::{
    accounts::{
        AccountError, Device, DeviceName, DeviceQuery, NewDevice, NewGuest, NewSession, Rotation, Seen, TokenHash,
    },
    ids::{DeviceId, SessionId},
    page::{Limit, Page},
};

/// What a person needs to know a device again.
pub async fn a_device_is_listed_as_it_was_seen(ports: &Ports) {
    let fingerprint = Some(TokenHash::of("fingerprint"));
    let address = Some(TokenHash::of("address"));
    let new =
        NewDevice { name: Some("phone".to_owned()), fingerprint, seen: Seen::new(at(7), address), ..session(1).device };
    let new = NewGuest { session: NewSession { device: new, ..session(1) }, ..guest(1) };
    ports.accounts.open_guest(&step(7), &new).await.expect("the guest is new");
    open_guest(&*ports.accounts, 2).await;

    let devices = devices(ports, 1).await;

    let expected = Device {
        id: device(1),
        account: account(1),
        name: Some(name("phone")),
        fingerprint,
        created_at: at(7),
        seen: Seen { at: at(0), address },
    };
    assert_eq!(devices, [expected]);
}

/// A budget of its own is for a device that the account knows, and for no other's.
pub async fn a_device_is_known_to_its_account_by_its_fingerprint_until_it_ends(ports: &Ports) {
    let fingerprint = TokenHash::of("fingerprint");
    let on = |n| NewDevice { fingerprint: Some(fingerprint), ..session(n).device };
    for n in [1, 2] {
        let new = NewGuest { session: NewSession { device: on(n), ..session(n) }, ..guest(n) };
        ports.accounts.open_guest(&step(0), &new).await.expect("the guest is new");
    }
    let known =
        async |n, fingerprint| ports.devices.find_known(account(n), &fingerprint).await.expect("the store works");

    for n in [1, 2] {
        assert_eq!(known(n, fingerprint).await, Some(device(n)));
    }
    assert_eq!(known(1, TokenHash::of("another")).await, None);
    assert_eq!(known(3, fingerprint).await, None);
    ports.devices.end(&step(1), account(1), device(1)).await.expect("the device is there");
    assert_eq!((known(1, fingerprint).await, known(2, fingerprint).await), (None, Some(device(2))));
}

/// Who signs in again from a device, or refreshes there, is seen on it; a name that its owner gave stays.
pub async fn a_device_is_seen_again(ports: &Ports) {
    let fingerprint = Some(TokenHash::of("fingerprint"));
    let on = |n: u32, name: Option<&str>, seconds| {
        let seen = Seen::new(at(seconds), Some(TokenHash::of(&format!("address {seconds}"))));
        NewSession {
            device: NewDevice { name: name.map(str::to_owned), fingerprint, seen, ..session(n).device },
            ..session(n)
        }
    };
    let first = NewGuest { session: on(1, None, 0), ..guest(1) };
    ports.accounts.open_guest(&step(0), &first).await.expect("the guest is new");

    ports.sessions.open(&step(400), account(1), &on(2, Some("phone"), 400)).await.expect("the account exists");
    let known = devices(ports, 1).await;
    assert_eq!((known.len(), &known[0].name, known[0].seen), (1, &Some(name("phone")), on(2, None, 400).device.seen));
    assert_eq!(known[0].created_at, at(0));

    ports.sessions.open(&step(700), account(1), &on(3, Some("other"), 700)).await.expect("the account exists");
    assert_eq!(devices(ports, 1).await[0].name, Some(name("phone")));

    let there = Seen::new(at(1000), None);
    let rotation = Rotation {
        session: SessionId::new(id(3)),
        from: 0,
        successor: hash("refresh", 3, 1),
        idle_expires_at: at(7200),
        device: (device(1), there),
    };
    assert!(ports.sessions.rotate(&step(1000), &rotation).await.expect("the store works"));
    let seen = devices(ports, 1).await[0].seen;
    assert_eq!(seen.at, there.at);
    assert_eq!(seen.address, on(3, None, 700).device.seen.address, "an unknown address replaces no known one");
    assert!(
        !ports
            .sessions
            .rotate(&step(400), &Rotation { device: (device(1), Seen::new(at(400), None)), ..rotation })
            .await
            .expect("the store works")
    );
    assert_eq!(devices(ports, 1).await[0].seen, seen, "nobody is last seen earlier than before");
}

/// Youngest first, page by page.
pub async fn devices_are_listed_page_by_page(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    for n in 2..=5 {
        ports.sessions.open(&step(i64::from(n)), account(1), &session(n)).await.expect("the account exists");
    }

    let limit = Limit::new(2).expect("1 to 200");
    let mut query = DeviceQuery { account: account(1), after: None, limit };
    let mut pages = Vec::new();
    loop {
        let page = ports.devices.page(&query).await.expect("the store works");
        pages.push(page.items.iter().map(|device| device.id).collect::<Vec<_>>());
        query.after = page.next(|device| device.id);
        if query.after.is_none() {
            break;
        }
    }

    assert_eq!(pages, [vec![device(5), device(4)], vec![device(3), device(2)], vec![device(1)]]);
}

/// "Old phone" becomes "Kitchen tablet".
pub async fn a_device_is_renamed_by_its_owner_alone(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    open_guest(&*ports.accounts, 2).await;

    let renamed = ports.devices.rename(&step(9), account(1), device(1), &name("tablet")).await.expect("it is its own");
    let foreign = ports.devices.rename(&step(9), account(2), device(1), &name("mine")).await;
    let unknown = ports.devices.rename(&step(9), account(1), device(9), &name("none")).await;

    assert_eq!(devices(ports, 1).await, [renamed]);
    assert_eq!(devices(ports, 1).await[0].name, Some(name("tablet")));
    assert!(matches!(foreign, Err(AccountError::DeviceNotFound)), "{foreign:?}");
    assert!(matches!(unknown, Err(AccountError::DeviceNotFound)), "{unknown:?}");
}

/// A lost phone: every session on it ends, and no other.
pub async fn an_ended_device_takes_its_sessions_along(ports: &Ports) {
    let fingerprint = Some(TokenHash::of("fingerprint"));
    let on = |n: u32| NewSession { device: NewDevice { fingerprint, ..session(n).device }, ..session(n) };
    ports.accounts.open_guest(&step(0), &NewGuest { session: on(1), ..guest(1) }).await.expect("the guest is new");
    ports.sessions.open(&step(1), account(1), &on(2)).await.expect("the account exists");
    ports.sessions.open(&step(1), account(1), &session(3)).await.expect("the account exists");

    ports.devices.end(&step(9), account(1), device(1)).await.expect("it is its own");

    assert_eq!(
        [ended_at(ports, 1).await, ended_at(ports, 2).await, ended_at(ports, 3).await],
        [Some(at(9)), Some(at(9)), None]
    );
    let ids: Vec<_> = devices(ports, 1).await.iter().map(|device| device.id).collect();
    assert_eq!(ids, [device(3)]);
    let gone = ports.devices.end(&step(10), account(1), device(1)).await;
    assert!(matches!(gone, Err(AccountError::DeviceNotFound)), "{gone:?}");
    let gone = ports.devices.rename(&step(10), account(1), device(1), &name("ghost")).await;
    assert!(matches!(gone, Err(AccountError::DeviceNotFound)), "{gone:?}");
}

/// Who has found the lost phone again signs in on it as on a new one.
pub async fn an_ended_device_is_not_known_again(ports: &Ports) {
    let fingerprint = Some(TokenHash::of("fingerprint"));
    let on = |n: u32| NewSession { device: NewDevice { fingerprint, ..session(n).device }, ..session(n) };
    ports.accounts.open_guest(&step(0), &NewGuest { session: on(1), ..guest(1) }).await.expect("the guest is new");
    ports.devices.end(&step(9), account(1), device(1)).await.expect("it is its own");

    let again = ports.sessions.open(&step(10), account(1), &on(2)).await.expect("the account exists");

    assert_eq!(again.session.device, device(2));
    assert_eq!(ended_at(ports, 2).await, None);
}

/// Nobody signs others out.
pub async fn a_device_is_ended_by_its_owner_alone(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    open_guest(&*ports.accounts, 2).await;

    let foreign = ports.devices.end(&step(9), account(2), device(1)).await;

    assert!(matches!(foreign, Err(AccountError::DeviceNotFound)), "{foreign:?}");
    assert_eq!(ended_at(ports, 1).await, None);
}

/// A repeat finds what it did done.
pub async fn a_repeated_effect_key_ends_a_device_once(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    for seconds in [9, 10] {
        ports.devices.end(&step_with_key(seconds, 1), account(1), device(1)).await.expect("it is answered");
    }
    ports.sessions.open(&step(11), account(1), &session(2)).await.expect("the account exists");
    let first = ports.devices.rename(&step_with_key(12, 2), account(1), device(2), &name("one")).await;
    let again = ports.devices.rename(&step_with_key(13, 2), account(1), device(2), &name("two")).await;

    assert_eq!(ended_at(ports, 1).await, Some(at(9)));
    assert_eq!(again.expect("it is answered"), first.expect("it is its own"));
    assert_eq!(devices(ports, 1).await[0].name, Some(name("one")));
}

/// Sign-ins, refreshes, password changes and sign-outs of one account at once wait for each other, and for nobody in a
/// circle; none of the sessions that were opened survives on an ended device.
pub async fn everything_at_once_ends_in_order(ports: &Ports) {
    let fingerprint = Some(TokenHash::of("fingerprint"));
    let on = move |n: u32| NewSession { device: NewDevice { fingerprint, ..session(n).device }, ..session(n) };
    let first = crate::accounts::Registration { session: on(1), ..registration(1) };
    ports.accounts.register(&step(0), &first).await.expect("the name is free");
    let mut tasks = JoinSet::new();
    for n in 2..12 {
        let (sessions, devices) = (ports.sessions.clone(), ports.devices.clone());
        tasks.spawn(async move {
            let opened = sessions.open(&step(1), account(1), &on(n)).await.expect("a session is opened");
            let rotation = Rotation {
                session: opened.session.id,
                from: 0,
                successor: hash("refresh", n, 1),
                idle_expires_at: at(7200),
                device: (opened.session.device, seen(600)),
            };
            sessions.rotate(&step(2), &rotation).await.expect("a refresh waits");
            match n % 3 {
                0 => match devices.end(&step(3), account(1), opened.session.device).await {
                    Ok(()) | Err(AccountError::DeviceNotFound) => {}
                    Err(error) => panic!("{error:?}"),
                },
                1 => drop(sessions.end_others(&step(3), account(1), Some(opened.session.id)).await.expect("it waits")),
                _ => sessions.end(&step(3), opened.session.id).await.expect("it waits"),
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("nothing fails");
    }

    let known: Vec<_> = devices(ports, 1).await.into_iter().map(|device| device.id).collect();
    for n in 1..12 {
        let found = ports.sessions.find(SessionId::new(id(n))).await.expect("the store works").expect("the session");
        let lives = found.session.ended_at.is_none();
        assert!(!lives || known.contains(&found.session.device), "session {n} outlived its device");
    }
}

fn name(text: &str) -> DeviceName {
    DeviceName::new(text).expect("a name")
}

fn device(n: u32) -> DeviceId {
    DeviceId::new(id(n))
}

async fn devices(ports: &Ports, n: u32) -> Vec<Device> {
    let query = DeviceQuery { account: account(n), after: None, limit: Limit::MAX };
    let Page { items, .. } = ports.devices.page(&query).await.expect("the store works");
    items
}

async fn ended_at(ports: &Ports, n: u32) -> Option<crate::clock::Timestamp> {
    let found = ports.sessions.find(SessionId::new(id(n))).await.expect("the store works");
    found.expect("the session").session.ended_at
}
