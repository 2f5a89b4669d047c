-- What was translated before. Keys are digests, values UTF-8. `used` is the hour of the last use, since 1970. `size` is
-- the space it takes: what a row needs beside its key and its value, in the table and in both indexes, was measured.
CREATE TABLE translations (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    value BLOB NOT NULL,
    used INTEGER NOT NULL,
    size INTEGER GENERATED ALWAYS AS (length(key) + length(value) + 100) VIRTUAL
);
CREATE INDEX translations_by_use ON translations (used, id);

-- How much space they take together: to sum it up would be to read everything.
CREATE TABLE translation_space (bytes INTEGER NOT NULL);
INSERT INTO translation_space VALUES (0);

CREATE TRIGGER translation_added AFTER INSERT ON translations BEGIN
    UPDATE translation_space SET bytes = bytes + new.size;
END;
CREATE TRIGGER translation_changed AFTER UPDATE OF value ON translations BEGIN
    UPDATE translation_space SET bytes = bytes + new.size - old.size;
END;
CREATE TRIGGER translation_removed AFTER DELETE ON translations BEGIN
    UPDATE translation_space SET bytes = bytes - old.size;
END;

-- Characters translated for each caller. `month` is UTC, such as 2026-11.
CREATE TABLE translated_characters (
    name TEXT NOT NULL,
    month TEXT NOT NULL,
    characters INTEGER NOT NULL,
    PRIMARY KEY (name, month)
) WITHOUT ROWID;
