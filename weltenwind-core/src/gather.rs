//! Readings that are asked for at once become one.

use std::{collections::HashMap, fmt, hash::Hash, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use crate::error::StorageError;

/// Readings of one batch.
const BATCH: usize = 256;
/// Readings that may wait; whoever comes then waits for a place.
const WAITING: usize = 1024;
/// A reading that takes longer is given up: a connection that is gone without a word holds nobody up who comes later.
const PATIENCE: Duration = Duration::from_secs(5);

const ATTEMPTED: &str = "read what many ask for";

/// What the reader of a batch answers: what was found, in any order and under its key.
pub(crate) type Found<K, V> = Result<Vec<(K, V)>, StorageError>;

/// Reads one value for each caller, and reads together what is asked for while a reading is under way.
///
/// A node that has just started is asked for everybody's session at once; one by one those readings would wait for each
/// other. An idle system waits for nothing: the first caller is a batch of its own. A reading begins after it was asked for.
pub(crate) struct Gather<K, V> {
    queue: mpsc::Sender<Asked<K, V>>,
}

struct Asked<K, V> {
    key: K,
    answer: oneshot::Sender<Result<Option<V>, StorageError>>,
}

impl<K: Copy + Eq + Hash + Send + 'static, V: Clone + Send + 'static> Gather<K, V> {
    /// Starts the task that reads; it ends with the last caller.
    pub(crate) fn start<F: Future<Output = Found<K, V>> + Send>(read: impl Fn(Vec<K>) -> F + Send + 'static) -> Self {
        let (queue, mut asked) = mpsc::channel::<Asked<K, V>>(WAITING);
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while asked.recv_many(&mut batch, BATCH).await > 0 {
                let reading = tokio::time::timeout(PATIENCE, read(batch.iter().map(|asked| asked.key).collect()));
                let found = reading.await.unwrap_or_else(|late| Err(StorageError::transient(ATTEMPTED, late)));
                answer(batch.drain(..), found);
            }
        });
        Self { queue }
    }

    /// Reads the value of a key, if there is one.
    pub(crate) async fn get(&self, key: K) -> Result<Option<V>, StorageError> {
        let (answer, answered) = oneshot::channel();
        let ended = || StorageError::transient(ATTEMPTED, "the task that reads has ended");
        self.queue.send(Asked { key, answer }).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

fn answer<K: Eq + Hash, V: Clone>(batch: impl Iterator<Item = Asked<K, V>>, found: Found<K, V>) {
    match found.map(|found| found.into_iter().collect::<HashMap<K, V>>()) {
        // Who went away in the meantime needs no answer.
        Ok(found) => batch.for_each(|asked| drop(asked.answer.send(Ok(found.get(&asked.key).cloned())))),
        Err(failure) => {
            let failure = Arc::new(failure);
            batch.for_each(|asked| drop(asked.answer.send(Err(StorageError::shared(&failure)))));
        }
    }
}

impl<K, V> fmt::Debug for Gather<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn what_is_asked_while_a_reading_runs_is_read_together() {
        let (batches, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
        let gather = {
            let (batches, gate) = (Arc::clone(&batches), Arc::clone(&gate));
            Gather::start(move |keys: Vec<u32>| {
                batches.lock().expect("the batches").push(keys.len());
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.expect("the gate").forget();
                    Ok(keys.into_iter().filter(|key| *key != 7).map(|key| (key, key * 2)).collect())
                }
            })
        };

        let first = async { gather.get(1).await };
        let others = async {
            while batches.lock().expect("the batches").is_empty() {
                tokio::task::yield_now().await;
            }
            let open = async { gate.add_permits(2) };
            // The gate opens behind the last of them.
            tokio::join!(biased; gather.get(2), gather.get(7), gather.get(2), open)
        };
        let (first, (second, missing, again, ())) = tokio::join!(first, others);

        let answers = [first, second, missing, again].map(|answer| answer.expect("a value"));
        assert_eq!(answers, [Some(2), Some(4), None, Some(4)]);
        assert_eq!(*batches.lock().expect("the batches"), [1, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_that_hangs_holds_nobody_up_who_comes_later() {
        let gather = Gather::start(async |keys: Vec<u32>| match keys[..] {
            [1] => std::future::pending().await,
            _ => Ok(keys.into_iter().map(|key| (key, key * 2)).collect()),
        });

        let late = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            gather.get(2).await
        };
        let (hung, late) = tokio::join!(gather.get(1), late);

        assert!(hung.as_ref().is_err_and(StorageError::is_transient), "{hung:?}");
        assert_eq!(late.expect("a value"), Some(4));
    }

    #[tokio::test]
    async fn a_failure_is_everybodys() {
        let gather: Gather<u32, u32> =
            Gather::start(async |_| Err(StorageError::transient("read numbers", "the store is away")));

        let (one, other) = tokio::join!(gather.get(1), gather.get(2));

        for answer in [one, other] {
            assert!(answer.as_ref().is_err_and(StorageError::is_transient), "{answer:?}");
        }
    }
}
