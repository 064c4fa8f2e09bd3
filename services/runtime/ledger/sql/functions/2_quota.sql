-- Quotas: the arithmetic of services/core/quota.py, on rows. What does not change (widths, limits,
-- the runs at the catalogue's J) comes with the call, as {jitter_us, shared, batch, told_us, throttled,
-- windows: [{per, length_us, cell_us, run, limit, bulk_limit, burst, bulk_burst}]}, the shortest
-- window first.

CREATE OR REPLACE FUNCTION ledger.lock_accounts(quotas jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.accounts (name)
    SELECT q FROM jsonb_object_keys(quotas) q ORDER BY q
    ON CONFLICT DO NOTHING;
    PERFORM FROM ledger.accounts a WHERE a.name IN (SELECT jsonb_object_keys(quotas))
    ORDER BY a.name FOR UPDATE;
END $$;

-- The quotas as they count now: at the largest J of late, as the catalogue says or as any maker of
-- claims has measured; and with less in the shortest window once the provider has throttled. The
-- accounts are locked.
CREATE OR REPLACE FUNCTION ledger.in_force(quotas jsonb, now timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    answer jsonb := quotas;
    q record;
    a ledger.accounts;
    share bigint;
BEGIN
    FOR q IN SELECT key AS account, value AS quota FROM jsonb_each(quotas) LOOP
        PERFORM ledger.hear(q.account, q.quota, now);
        SELECT * INTO a FROM ledger.accounts t WHERE t.name = q.account;
        share := ledger.share_by(a, ledger.to_us(now));
        IF share < 1000 THEN
            q.quota := jsonb_set(q.quota, '{windows,0}', ledger.at_share(q.quota, share));
        END IF;
        IF a.jitter_until > now THEN
            q.quota := ledger.at_jitter(q.quota, a.jitter_us);
        END IF;
        answer := jsonb_set(answer, ARRAY[q.account], q.quota);
    END LOOP;
    RETURN answer;
END $$;

-- What a maker of claims has seen of an account. A measured J counts for a minute. A provider that
-- throttles halves the share; of several such replies within a second the first counts.
CREATE OR REPLACE FUNCTION ledger.hear(p_account text, quota jsonb, now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    told_us bigint := (quota ->> 'told_us')::bigint;
    now_us bigint := ledger.to_us(now);
BEGIN
    UPDATE ledger.accounts a SET jitter_us = told_us, jitter_until = now + interval '1 minute'
    WHERE a.name = p_account AND told_us > 0
      AND CASE WHEN a.jitter_until <= now THEN true
               ELSE told_us > a.jitter_us
                    OR told_us = a.jitter_us AND a.jitter_until < now + interval '30 seconds' END;
    IF (quota ->> 'throttled')::boolean THEN
        UPDATE ledger.accounts a
        SET share = greatest(50, ledger.share_by(a, now_us) / 2), share_us = now_us
        WHERE a.name = p_account AND now_us - a.share_us >= 1000000;
    END IF;
END $$;

-- In thousandths: it climbs by one in 60 ms.
CREATE OR REPLACE FUNCTION ledger.share_by(a ledger.accounts, now_us bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT least(1000, a.share + greatest(0, now_us - a.share_us) / 60000);
$$;

-- The shortest window with a share of its limit.
CREATE OR REPLACE FUNCTION ledger.at_share(quota jsonb, share bigint) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    w jsonb := quota -> 'windows' -> 0;
    shared boolean := (quota ->> 'shared')::boolean;
    most bigint := greatest(1, (w ->> 'limit')::bigint * share / 1000);
    burst bigint := most;
    bulk_burst bigint := most;
BEGIN
    IF w ->> 'per' = 'second' THEN
        bulk_burst := greatest(4, (quota ->> 'batch')::bigint, (most + 49) / 50);
        burst := CASE WHEN shared THEN 2 * bulk_burst ELSE bulk_burst END;
    END IF;
    RETURN w || jsonb_build_object('limit', most, 'burst', burst, 'bulk_burst', bulk_burst,
        'bulk_limit', CASE WHEN shared THEN most - most / 20 ELSE most END);
END $$;

-- With the runs that a larger J needs.
CREATE OR REPLACE FUNCTION ledger.at_jitter(quota jsonb, measured_us bigint) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    largest bigint := least(measured_us, (quota -> 'windows' -> 0 ->> 'length_us')::bigint);
BEGIN
    IF largest <= (quota ->> 'jitter_us')::bigint THEN
        RETURN quota;
    END IF;
    RETURN jsonb_set(quota, '{windows}', (
        SELECT jsonb_agg(w || jsonb_build_object('run',
            ceil(((w ->> 'length_us')::numeric + largest) / (w ->> 'cell_us')::numeric) + 1)
            ORDER BY place)
        FROM jsonb_array_elements(quota -> 'windows') WITH ORDINALITY x (w, place)));
END $$;

-- The largest sum of the runs that hold a cell.
CREATE OR REPLACE FUNCTION ledger.fullest(used integer[], p_first bigint, cell bigint, run integer)
RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    at integer := cell - p_first + 1;
    total bigint := coalesce(
        (SELECT sum(u) FROM unnest(used[greatest(at - run + 1, 1):greatest(at, 0)]) u), 0);
    best bigint := total;
BEGIN
    FOR i IN greatest(at + 1, 1) .. least(at + run - 1, coalesce(cardinality(used), 0)) LOOP
        total := total + used[i] - coalesce(used[i - run], 0);
        best := greatest(best, total);
    END LOOP;
    RETURN best;
END $$;

-- The first cell of a window, from this one on, that has room for the cost.
CREATE OR REPLACE FUNCTION ledger.first_fit(
    book ledger.cells, w jsonb, cell bigint, cost integer, bulk boolean
) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    run integer := (w ->> 'run')::integer;
    most integer := CASE WHEN bulk THEN w ->> 'bulk_limit' ELSE w ->> 'limit' END;
    burst integer := CASE WHEN bulk THEN w ->> 'bulk_burst' ELSE w ->> 'burst' END;
    held integer;
    rest integer;
    at bigint;
BEGIN
    IF cardinality(book.used) = 0 THEN
        RETURN cell;
    END IF;
    LOOP
        held := coalesce(book.used[cell - book.first + 1], 0);
        IF held = 0 OR held + cost <= burst THEN
            rest := cost;
            at := cell;
            WHILE rest > 0 AND ledger.fullest(book.used, book.first, at, run) + least(rest, most)
                               <= most LOOP
                rest := rest - most;
                at := at + run;
            END LOOP;
            EXIT WHEN rest <= 0;
        END IF;
        cell := cell + 1;
    END LOOP;
    RETURN cell;
END $$;

-- With so much more in a cell of a window; what no run that is still to come can hold is dropped.
CREATE OR REPLACE FUNCTION ledger.add_use(
    book ledger.cells, cell bigint, amount integer, oldest bigint
) RETURNS ledger.cells LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    at bigint;
BEGIN
    IF cell < oldest THEN
        RETURN book;
    END IF;
    IF book.first < oldest THEN
        book.used := book.used[least(oldest - book.first, cardinality(book.used)) + 1:];
        book.first := oldest;
    END IF;
    IF cardinality(book.used) = 0 THEN
        book.first := cell;
    ELSIF cell < book.first THEN
        book.used := array_fill(0, ARRAY[(book.first - cell)::integer]) || book.used;
        book.first := cell;
    END IF;
    at := cell - book.first + 1;
    IF at > cardinality(book.used) THEN
        book.used := book.used || array_fill(0, ARRAY[(at - cardinality(book.used))::integer]);
    END IF;
    book.used[at] := book.used[at] + amount;
    RETURN book;
END $$;

-- With a cell of the shortest window charged in all; what costs more than a window allows takes
-- several.
CREATE OR REPLACE FUNCTION ledger.charged(
    books ledger.cells[], quota jsonb, cell bigint, cost integer, bulk boolean, now_us bigint
) RETURNS ledger.cells[] LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    width bigint := (quota -> 'windows' -> 0 ->> 'cell_us')::bigint;
    w jsonb;
    i integer := 0;
    run integer;
    most integer;
    rest integer;
    at bigint;
BEGIN
    FOR w IN SELECT value FROM jsonb_array_elements(quota -> 'windows') LOOP
        i := i + 1;
        run := (w ->> 'run')::integer;
        most := CASE WHEN bulk THEN w ->> 'bulk_limit' ELSE w ->> 'limit' END;
        at := cell * width / (w ->> 'cell_us')::bigint;
        rest := cost;
        WHILE rest > 0 LOOP
            books[i] := ledger.add_use(books[i], at, least(rest, most),
                                       now_us / (w ->> 'cell_us')::bigint - 2 * run);
            rest := rest - most;
            at := at + run;
        END LOOP;
    END LOOP;
    RETURN books;
END $$;

-- What was granted of an account's windows, in the order of its quota.
CREATE OR REPLACE FUNCTION ledger.books(p_account text, quota jsonb) RETURNS ledger.cells[]
LANGUAGE sql STABLE AS $$
    SELECT array_agg(ROW (p_account, w ->> 'per', coalesce(c.first, 0), coalesce(c.used, '{}'))
                     ::ledger.cells ORDER BY place)
    FROM jsonb_array_elements(quota -> 'windows') WITH ORDINALITY x (w, place)
    LEFT JOIN ledger.cells c ON c.account = p_account AND c.per = w ->> 'per';
$$;

CREATE OR REPLACE FUNCTION ledger.put_books(books ledger.cells[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO ledger.cells AS t SELECT b.* FROM unnest(books) b
    ON CONFLICT (account, per) DO UPDATE SET first = excluded.first, used = excluded.used;
$$;

-- Charge what was granted elsewhere. The account is locked.
CREATE OR REPLACE FUNCTION ledger.charge(
    p_account text, quota jsonb, cell bigint, cost integer, bulk boolean, now_us bigint
) RETURNS void LANGUAGE sql AS $$
    SELECT ledger.put_books(ledger.charged(ledger.books(p_account, quota), quota, cell, cost, bulk,
                                           now_us));
$$;

-- For messages of these costs, in order, the first cell that fits each in every window, charged if it
-- is within reach. The account is locked. Those that are within reach open then; the others are null
-- there, and to be asked for again then.
CREATE OR REPLACE FUNCTION ledger.take_each(
    p_account text, quota jsonb, costs integer[], bulk boolean, ready_us bigint,
    latest_us bigint[], now_us bigint, OUT opens_us bigint[], OUT again_us bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    width bigint := (quota -> 'windows' -> 0 ->> 'cell_us')::bigint;
    remaining bigint := least(width / 2, 100000);
    books ledger.cells[] := ledger.books(p_account, quota);
    windows jsonb[] := ARRAY(SELECT value FROM jsonb_array_elements(quota -> 'windows'));
    ready bigint := (ready_us + remaining) / width;
    -- no earlier one has room for even one
    before bigint := (SELECT CASE WHEN bulk THEN a.full_to_bulk ELSE a.full_to END
                      FROM ledger.accounts a WHERE a.name = p_account);
    since bigint := before;
    cell bigint;
    tried bigint;
    each bigint;
BEGIN
    FOR i IN 1 .. cardinality(costs) LOOP
        cell := greatest(ready, since);
        tried := -1;
        WHILE tried <> cell LOOP
            tried := cell;
            FOR w IN 1 .. cardinality(windows) LOOP
                each := (windows[w] ->> 'cell_us')::bigint / width;
                cell := greatest(cell, ledger.first_fit(books[w], windows[w], cell / each,
                                                        costs[i], bulk) * each);
            END LOOP;
        END LOOP;
        IF costs[i] = 1 THEN
            since := cell;
        END IF;
        IF cell * width <= now_us + 1000000 AND cell * width + remaining <= latest_us[i] THEN
            opens_us[i] := cell * width;
            books := ledger.charged(books, quota, cell, costs[i], bulk, now_us);
        ELSE
            again_us[i] := greatest(now_us + width, cell * width - 1000000);
        END IF;
    END LOOP;
    IF since <> before THEN
        UPDATE ledger.accounts SET full_to = CASE WHEN bulk THEN full_to ELSE since END,
            full_to_bulk = CASE WHEN bulk THEN since ELSE full_to_bulk END
        WHERE name = p_account;
    END IF;
    IF opens_us IS NOT NULL THEN
        PERFORM ledger.put_books(books);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION ledger.to_us(p_at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT (extract(epoch FROM p_at) * 1000000)::bigint;
$$;

CREATE OR REPLACE FUNCTION ledger.from_us(p_us bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE
AS $$
    SELECT 'epoch'::timestamptz + make_interval(secs => p_us / 1000000)
           + p_us % 1000000 * interval '1 microsecond';
$$;
