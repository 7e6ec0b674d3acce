//! Statements on what accounts are told that read the same in both databases.

pub(super) const STATE: &str = "
    SELECT
        COALESCE((SELECT version FROM feeds WHERE account_id = $1), 0) AS version,
        (SELECT version FROM announcement_epoch WHERE id = 1) AS epoch,
        (SELECT max(publish_at) FROM announcements WHERE publish_at <= $2) AS began,
        (SELECT max(expires_at) FROM announcements WHERE expires_at <= $2) AS ended,
        (SELECT max(expires_at) FROM notifications WHERE account_id = $1 AND expires_at <= $2) AS ended_own,
        COALESCE((SELECT revision FROM preferences WHERE account_id = $1), 1) AS preferences";

/// Whether a topic is switched on. Topics that are off stand in one text, with a blank between two.
macro_rules! is_on {
    ($position:literal, $topic:literal) => {
        concat!(
            $position,
            "(' ' || COALESCE((SELECT muted FROM preferences WHERE account_id = $1), '') || ' ', ' ' || ",
            $topic,
            " || ' ') = 0"
        )
    };
}

/// What a feed shows: what was told, and the announcements to everybody that the account has done nothing with. Each part ends by
/// itself at the limit, so that neither is read further than the page reaches.
///
/// `$1` account, `$2` instant, `$3` since, `$4` topic, `$5` and `$6` position, `$7` limit.
macro_rules! feed {
    ($nowhere:literal, $position:literal, $own:literal, $public:literal) => {
        concat!(
            "SELECT * FROM (
                SELECT n.id, n.topic, COALESCE(n.title, a.title) AS title, COALESCE(n.body, a.body) AS body, n.created_at,
                    COALESCE(n.expires_at, a.expires_at) AS expires_at, n.dispatched_at, n.read_at
                FROM notifications n LEFT JOIN announcements a ON n.title IS NULL AND a.id = n.id
                WHERE n.account_id = $1 AND n.dismissed_at IS NULL AND n.created_at >= $3
                    AND (n.title IS NOT NULL OR a.id IS NOT NULL AND a.withdrawn_at IS NULL)
                    AND (n.expires_at IS NULL OR n.expires_at > $2) AND (a.expires_at IS NULL OR a.expires_at > $2)
                    AND ($4 IS NULL OR n.topic = $4) AND (n.created_at, n.id) < ($5, $6) AND ",
            sql::is_on!($position, "n.topic"),
            $own,
            " ORDER BY n.created_at DESC, n.id DESC LIMIT $7
            ) AS own
            UNION ALL
            SELECT * FROM (
                SELECT a.id, 'announcement' AS topic, a.title, a.body, a.publish_at AS created_at, a.expires_at,
                    a.dispatched_at,
                    CASE WHEN a.number <= f.read_number AND a.publish_at <= f.read_until THEN f.read_until END AS read_at
                FROM announcements a LEFT JOIN feeds f ON f.account_id = $1
                WHERE a.scope_kind = 'global' AND COALESCE(a.scope_id, ",
            $nowhere,
            ") = ",
            $nowhere,
            " AND a.role IS NULL AND a.withdrawn_at IS NULL AND a.publish_at <= $2
                    AND (a.expires_at IS NULL OR a.expires_at > $2) AND a.publish_at >= $3
                    AND a.publish_at >= (SELECT created_at FROM accounts WHERE id = $1)
                    AND NOT EXISTS (SELECT 1 FROM notifications n WHERE n.account_id = $1 AND n.id = a.id)
                    AND ($4 IS NULL OR $4 = 'announcement') AND (a.publish_at, a.id) < ($5, $6) AND ",
            sql::is_on!($position, "'announcement'"),
            $public,
            " ORDER BY a.publish_at DESC, a.id DESC LIMIT $7
            ) AS public"
        )
    };
}

/// The three readings of a feed.
macro_rules! feeds {
    ($nowhere:literal, $position:literal) => {
        const ALL: &str =
            concat!(sql::feed!($nowhere, $position, "", ""), " ORDER BY created_at DESC, id DESC LIMIT $7");
        const UNREAD: &str = concat!(
            sql::feed!(
                $nowhere,
                $position,
                " AND n.read_at IS NULL",
                " AND (f.account_id IS NULL OR a.number > f.read_number OR a.publish_at > f.read_until)"
            ),
            " ORDER BY created_at DESC, id DESC LIMIT $7"
        );
        const COUNT_UNREAD: &str = concat!(
            "SELECT count(*) FROM (",
            sql::feed!(
                $nowhere,
                $position,
                " AND n.read_at IS NULL",
                " AND (f.account_id IS NULL OR a.number > f.read_number OR a.publish_at > f.read_until)"
            ),
            ") AS seen"
        );
    };
}

/// Counts a change of what an account is told, if there is such an account. The row stays locked until the commit, so that the
/// versions of a feed are given out in the order of commits.
pub(super) const BUMP: &str = "
    INSERT INTO feeds (account_id, version) SELECT id, 1 FROM accounts WHERE id = $1
    ON CONFLICT (account_id) DO UPDATE SET version = feeds.version + 1
    RETURNING version";

pub(super) const IS_KNOWN: &str =
    "SELECT EXISTS (SELECT 1 FROM notifications WHERE account_id = $1 AND dedupe_key = $2)";

pub(super) const TELL: &str = "
    INSERT INTO notifications
        (account_id, id, arrival, topic, dedupe_key, title, body, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT DO NOTHING";

/// What an account has made of something that its feed shows. An announcement that was withdrawn or has expired is not shown.
pub(super) const FIND_OWN: &str = "
    SELECT n.read_at IS NOT NULL AS is_read, (n.dismissed_at IS NOT NULL OR COALESCE(n.expires_at <= $3, FALSE) OR COALESCE(a.expires_at <= $3, FALSE)
            OR n.title IS NULL AND (a.id IS NULL OR a.withdrawn_at IS NOT NULL)) AS is_hidden
    FROM notifications n LEFT JOIN announcements a ON n.title IS NULL AND a.id = n.id
    WHERE n.account_id = $1 AND n.id = $2";

/// When an announcement to everybody was published that an account's feed shows, and whether all like it were read.
pub(super) const FIND_PUBLIC: &str = "
    SELECT a.publish_at, COALESCE(a.number <= f.read_number AND a.publish_at <= f.read_until, FALSE) AS is_read
    FROM announcements a JOIN accounts c ON c.id = $1 LEFT JOIN feeds f ON f.account_id = $1
    WHERE a.id = $2 AND a.scope_kind = 'global' AND a.role IS NULL AND a.withdrawn_at IS NULL AND a.publish_at <= $3
        AND (a.expires_at IS NULL OR a.expires_at > $3) AND a.publish_at >= c.created_at";

/// Gives an announcement to everybody a row of the account's own, unless it has one. It arrived with its announcement, and not
/// in this feed alone: the arrival is zero.
pub(super) const ADOPT: &str = "
    INSERT INTO notifications (account_id, id, arrival, topic, created_at, read_at)
    VALUES ($1, $2, 0, 'announcement', $3, $4)
    ON CONFLICT (account_id, id) DO NOTHING";

pub(super) const MARK_READ: &str =
    "UPDATE notifications SET read_at = $3 WHERE account_id = $1 AND id = $2 AND read_at IS NULL";

pub(super) const DISMISS: &str = "
    UPDATE notifications SET dismissed_at = $3, read_at = COALESCE(read_at, $3)
    WHERE account_id = $1 AND id = $2 AND dismissed_at IS NULL";

/// The accounts to which something may be handed over, as far as can be seen before their feeds are locked: it has not been, and
/// their feed shows it as unread.
///
/// `$of` says how a row's account is one of `$1`; `$2` the notification, `$3` instant.
macro_rules! may_be_told {
    ($of:literal, $position:literal) => {
        concat!(
            "SELECT c.id FROM accounts c
            LEFT JOIN notifications n ON n.account_id = c.id AND n.id = $2
            LEFT JOIN announcements a ON a.id = $2 AND n.title IS NULL
            LEFT JOIN feeds f ON f.account_id = c.id
            LEFT JOIN preferences p ON p.account_id = c.id
            WHERE c.id ",
            $of,
            " AND n.dispatched_at IS NULL AND n.read_at IS NULL AND n.dismissed_at IS NULL
                AND (n.expires_at IS NULL OR n.expires_at > $3) AND (a.expires_at IS NULL OR a.expires_at > $3)
                AND (n.title IS NOT NULL OR a.id IS NOT NULL AND a.withdrawn_at IS NULL)
                AND (n.id IS NOT NULL OR a.scope_kind = 'global' AND a.role IS NULL AND a.publish_at <= $3
                    AND a.publish_at >= c.created_at
                    AND (f.account_id IS NULL OR a.number > f.read_number OR a.publish_at > f.read_until))
                AND ",
            $position,
            "(' ' || COALESCE(p.muted, '') || ' ', ' ' || COALESCE(n.topic, 'announcement') || ' ') = 0"
        )
    };
}

/// Counts the feeds of accounts up, as `BUMP` does, in one order for all transactions. Whoever is being erased is left out.
macro_rules! bump_all {
    ($of:literal) => {
        concat!(
            "INSERT INTO feeds (account_id, version) SELECT id, 1 FROM accounts WHERE id ",
            $of,
            " ORDER BY id ON CONFLICT (account_id) DO UPDATE SET version = feeds.version + 1"
        )
    };
}

/// Gives an announcement to everybody rows of the accounts' own, as `ADOPT` does.
macro_rules! adopt_all {
    ($of:literal) => {
        concat!(
            "INSERT INTO notifications (account_id, id, arrival, topic, created_at)
            SELECT f.account_id, a.id, 0, 'announcement', a.publish_at FROM feeds f CROSS JOIN announcements a
            WHERE a.id = $2 AND a.scope_kind = 'global' AND a.role IS NULL AND f.account_id ",
            $of,
            " ON CONFLICT (account_id, id) DO NOTHING"
        )
    };
}

/// Two that hand the same thing over: one finds it handed over.
macro_rules! dispatch_all {
    ($of:literal) => {
        concat!(
            "UPDATE notifications SET dispatched_at = $3
            WHERE id = $2 AND dispatched_at IS NULL AND read_at IS NULL AND dismissed_at IS NULL AND account_id ",
            $of,
            " RETURNING account_id"
        )
    };
}

/// A version is given out with what arrives, so what arrived later is not touched.
pub(super) const MARK_ARRIVED_READ: &str = "
    UPDATE notifications SET read_at = $5
    WHERE account_id = $1 AND read_at IS NULL AND dismissed_at IS NULL AND (
        arrival BETWEEN 1 AND $2
        OR arrival = 0 AND EXISTS (
            SELECT 1 FROM announcements a WHERE a.id = notifications.id AND a.number <= $3 AND a.publish_at <= $4
        )
    )";

/// An older mark takes nothing back.
pub(super) const MARK_PUBLIC_READ: &str = "
    UPDATE feeds SET
        read_number = CASE WHEN read_number < $2 THEN $2 ELSE read_number END,
        read_until = CASE WHEN read_until < $3 THEN $3 ELSE read_until END
    WHERE account_id = $1";

/// What an announcement's spreading needs to know of it.
macro_rules! spreading {
    () => {
        "SELECT scope_kind, scope_id, role, publish_at, told_through, withdrawn_at IS NOT NULL AS is_withdrawn,
            dispatched_at IS NOT NULL AS is_dispatched
        FROM announcements WHERE id = $1"
    };
}

/// The next accounts of an audience: whoever held a grant there when the announcement was published, and does still.
///
/// `$1` and `$2` scope, `$3` role, `$4` publication, `$5` instant, `$6` the last account, `$7` limit.
macro_rules! audience {
    ($scope:literal) => {
        concat!(
            "SELECT account_id FROM grants
            WHERE scope_kind = $1 AND ",
            $scope,
            " AND ($3 IS NULL OR role = $3) AND created_at <= $4 AND revoked_at IS NULL
                AND (expires_at IS NULL OR expires_at > $5) AND account_id > $6
            GROUP BY account_id ORDER BY account_id LIMIT $7"
        )
    };
}

/// In a world or a group.
macro_rules! audience_somewhere {
    () => {
        sql::audience!("scope_id = $2")
    };
}

/// On the whole installation.
macro_rules! audience_everywhere {
    () => {
        sql::audience!("scope_id IS NULL AND $2 IS NULL")
    };
}

pub(super) const TOLD_THROUGH: &str = "UPDATE announcements SET told_through = $2 WHERE id = $1";

/// The announcement shows when it was dispatched, so it is another revision of it.
pub(super) const DISPATCHED: &str = "
    UPDATE announcements SET dispatched_at = $2, told_through = NULL, revision = revision + 1
    WHERE id = $1 AND dispatched_at IS NULL";

/// Counts the version of every feed up from which `PURGE` takes something that it showed.
pub(super) const PURGED_FEEDS: &str = "
    UPDATE feeds SET version = version + 1 WHERE account_id IN (
        SELECT account_id FROM (
            SELECT account_id, dismissed_at FROM notifications
            WHERE created_at < $2 OR created_at < $1 AND read_at IS NOT NULL
            ORDER BY created_at, account_id, id LIMIT $3
        ) AS old WHERE dismissed_at IS NULL
    )";

pub(super) const PURGE: &str = "
    DELETE FROM notifications WHERE (account_id, id) IN (
        SELECT account_id, id FROM notifications
        WHERE created_at < $2 OR created_at < $1 AND read_at IS NOT NULL
        ORDER BY created_at, account_id, id LIMIT $3
    )";

pub(super) use {
    adopt_all, audience, audience_everywhere, audience_somewhere, bump_all, dispatch_all, feed, feeds, is_on,
    may_be_told, spreading,
};
