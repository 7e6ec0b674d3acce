-- No loss is silent: who was away while messages were deleted by age is told so, and who had seen them is not.

-- The newest change of a message of the channel that was deleted. The messages that are left do not tell it: of a change that no
-- message bears it cannot be said whether another one followed on the same message, or the message is gone. The database keeps
-- it, whoever deletes. What was deleted so far is not known; whoever is behind such a channel now reads its history anew.
ALTER TABLE chat_channels ADD COLUMN purged_change BIGINT NOT NULL DEFAULT 0;
UPDATE chat_channels SET purged_change = last_change
WHERE last_seq > 0
    AND COALESCE((SELECT min(seq) FROM chat_messages WHERE channel_id = chat_channels.id), 0) <> 1;

CREATE FUNCTION chat_note_purged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE chat_channels channel SET purged_change = gone.change
    FROM (SELECT channel_id, max(change) AS change FROM deleted GROUP BY channel_id) gone
    WHERE channel.id = gone.channel_id AND channel.purged_change < gone.change;
    RETURN NULL;
END
$$;
CREATE TRIGGER chat_messages_note_purged AFTER DELETE ON chat_messages REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION chat_note_purged();
