-- What Workers AI replied. Keys are digests; values begin with the time of the reply (see replies.py). `used` is the hour
-- of the last use, since 1970. `size` is the space it takes, as measured with values of many sizes; if all were a little
-- larger than 2 kB, which leaves half of each page empty, it would be twice as much.
CREATE TABLE replies (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    value BLOB NOT NULL,
    used INTEGER NOT NULL,
    size INTEGER GENERATED ALWAYS AS (length(key) + length(value) + 100) VIRTUAL
);
CREATE INDEX replies_by_use ON replies (used, id);

-- How much space they take together: to sum it up would be to read everything.
CREATE TABLE reply_space (bytes INTEGER NOT NULL);
INSERT INTO reply_space VALUES (0);

CREATE TRIGGER reply_added AFTER INSERT ON replies BEGIN
    UPDATE reply_space SET bytes = bytes + new.size;
END;
CREATE TRIGGER reply_changed AFTER UPDATE OF value ON replies BEGIN
    UPDATE reply_space SET bytes = bytes + new.size - old.size;
END;
CREATE TRIGGER reply_removed AFTER DELETE ON replies BEGIN
    UPDATE reply_space SET bytes = bytes - old.size;
END;
