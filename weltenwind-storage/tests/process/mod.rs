//! Processes that a test starts, stops and kills: the test's own program, started anew with orders.

#![allow(dead_code, reason = "each test binary uses another part")]

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};

/// What a process is to do, as JSON; without it the program is a test.
const ORDERS: &str = "WW_TEST_ORDERS";
/// Long enough for a machine under load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Returns what this process was ordered to do; none in the test itself.
pub(crate) fn orders<T: DeserializeOwned>() -> Option<T> {
    let orders = std::env::var(ORDERS).ok()?;
    Some(serde_json::from_str(&orders).expect("orders that the test has written"))
}

/// A process that is gone when the test is.
pub(crate) struct Process(Child);

impl Process {
    /// Starts the test `child` of this program, which looks for its orders.
    pub(crate) fn start(orders: &impl Serialize) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let orders = serde_json::to_string(orders).expect("orders");
        command.args(["--exact", "child", "--nocapture"]).env(ORDERS, orders);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts"))
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.0.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for an end by its own hand.
    pub(crate) async fn ended(&mut self) {
        let began = Instant::now();
        while self.0.try_wait().expect("it can be asked").is_none() {
            assert!(began.elapsed() < PATIENCE, "the process goes on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    /// SIGKILL.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
