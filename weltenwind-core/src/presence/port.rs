use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::model::{Beat, Flush, PresenceNews, Shard, Typing};
use crate::{error::StorageError, ids::NodeId, room::Room};

/// Where nodes write down whom they have in which room, so that each knows of all.
///
/// It holds nothing that the nodes do not know themselves: a store that was emptied is filled by them again. A node's members
/// count as long as its lease stands. Every method is safe to repeat.
#[async_trait]
pub trait PresenceStore: Debug + Send + Sync + 'static {
    /// Gives a sign of life: renews the node's lease for so long and tells who else is alive. The first beat of a node
    /// begins the lease; a later one whose lease has run out changes nothing and says so in [`Beat::was_known`].
    ///
    /// `sequence` is that of the node's last flush; others find in it whether they missed one.
    async fn beat(&self, node: NodeId, sequence: u64, lease: Duration, is_first: bool) -> Result<Beat, StorageError>;

    /// Writes down what changed on a node, and tells the others. Whoever reads a room after they were told finds it there.
    async fn publish(&self, flush: &Flush) -> Result<(), StorageError>;

    /// Reads whom the nodes have in each of the rooms, in their order; nodes without anybody there are left out, dead ones
    /// that were not buried are not.
    async fn read(&self, rooms: &[Room]) -> Result<Vec<Vec<Shard>>, StorageError>;

    /// Forgets a dead node and all it had. A node that only seemed dead goes on under another name, so nothing of it is lost.
    async fn bury(&self, node: NodeId) -> Result<(), StorageError>;

    /// Tells the others that somebody is writing: whoever does not hear it misses nothing.
    async fn tell(&self, typing: &Typing);

    /// Hears what is published and told from now on. News may be lost, and those who fall behind lose some: both is told as
    /// [`PresenceNews::Missed`] or as the receiver's lag, or found by a flush's sequence.
    fn listen(&self) -> broadcast::Receiver<PresenceNews>;
}
