-- A claim looks at no job that waits behind another one: of a hundred thousand under one order key it looks at the first.

-- Whether another job of its kind and order key was there before it, and still is. The database keeps it, whoever writes and
-- deletes.
ALTER TABLE outbox_jobs ADD COLUMN behind INTEGER NOT NULL DEFAULT FALSE;
UPDATE outbox_jobs AS job SET behind = TRUE WHERE order_key IS NOT NULL AND EXISTS (
    SELECT 1 FROM outbox_jobs older
    WHERE older.kind = job.kind AND older.order_key = job.order_key AND older.id < job.id
);

CREATE TRIGGER outbox_jobs_fall_in AFTER INSERT ON outbox_jobs WHEN NEW.order_key IS NOT NULL BEGIN
    UPDATE outbox_jobs SET behind = TRUE WHERE id = NEW.id AND EXISTS (
        SELECT 1 FROM outbox_jobs WHERE kind = NEW.kind AND order_key = NEW.order_key AND id < NEW.id
    );
END;

CREATE TRIGGER outbox_jobs_move_up AFTER DELETE ON outbox_jobs WHEN OLD.order_key IS NOT NULL BEGIN
    UPDATE outbox_jobs SET behind = FALSE
    WHERE behind AND id = (SELECT min(id) FROM outbox_jobs WHERE kind = OLD.kind AND order_key = OLD.order_key);
END;

-- Jobs that may be claimed, in that order: those during which nobody died, and the few others, which are claimed apart.
CREATE INDEX outbox_jobs_sound ON outbox_jobs (kind, run_at, id) WHERE worker IS NULL AND NOT behind AND crashes = 0;
CREATE INDEX outbox_jobs_suspect ON outbox_jobs (kind, run_at, id) WHERE worker IS NULL AND NOT behind AND crashes > 0;
DROP INDEX outbox_jobs_waiting;
