# make run    builds the page and the server and starts it on http://localhost:4000
# make test   installs what the tests need, builds everything and runs all tests
# make build  the page and the release binary
# make rooms  builds Rooms, the chat for a team in apps/rooms, and starts it on http://localhost:4100 with a demonstration team
# make fmt    formats; make lint checks format, clippy and documentation
# make autobahn checks the WebSocket transport by the Autobahn test suite
# make fuzz   runs each fuzz target for FUZZ_SECONDS (600)
# make chaos  kills clients and the server, many times; make soak lets clients come and go for ten minutes
# make cluster-chaos  kills, stops and cuts off nodes and their engines, by phoenix.js clients and clients of our own
# make store-chaos  lets the server and its disk fail under load, and checks what clients were told against what is stored
# make bench  measures the server against a floor and writes docs/BENCHMARKS.md
# make clients  runs the clients of other languages against the example reference, and against supabase-realtime

.PHONY: run rooms rooms-page test autobahn fuzz chaos cluster-chaos store-chaos soak bench loadgen valgrind strace clients build assets fmt lint chromium nginx systemd sqlite postgres redis clean
.DEFAULT_GOAL := build

CHROMIUM ?= /usr/bin/chromium
NGINX ?= /usr/sbin/nginx
export NGINX

# the program, the library and the protocol, with the same features whatever is built of them
ALL = --locked --workspace --all-features

run: build
	./target/release/realtime-chat

build: assets
	cargo build --release --locked -p realtime-chat

rooms: apps/rooms/page/node_modules/.package-lock.json
	npm run --silent --prefix apps/rooms/page build
	cargo build --release --locked -p rooms
	./target/release/rooms --demo --static-dir apps/rooms/page/dist

apps/rooms/page/node_modules/.package-lock.json: apps/rooms/page/package.json apps/rooms/page/package-lock.json
	npm ci --no-audit --no-fund --prefix apps/rooms/page
	@touch $@

assets: node_modules/.package-lock.json
	npm run --silent build:release

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

test: lint build chromium nginx systemd sqlite postgres redis
	cargo test $(ALL)
	cargo test --locked -p hinotori --no-default-features --lib
	cargo test $(LOADGEN)
	$(MAKE) fuzz FUZZ_SECONDS=3
	$(MAKE) autobahn
	$(MAKE) clients
	REALTIME_CHAT_BIN=target/release/realtime-chat npm test
	$(MAKE) rooms-page

# the page of Rooms: its types, its size, and in Chromium against its server
rooms-page: apps/rooms/page/node_modules/.package-lock.json
	cd apps/rooms/page && npm run --silent build && npm run --silent check
	cargo build $(ALL) --bin rooms
	npm test --prefix apps/rooms/page

# the WebSocket conformance suite, against the example echo_socket
autobahn:
	cargo build $(ALL) --example echo_socket
	sh tests/venv.sh autobahn-venv tests/autobahn/requirements.txt
	target/autobahn-venv/bin/python tests/autobahn/run.py

FUZZ_SECONDS ?= 600

# parsers of what clients send, guided by coverage; a crash is left in target/fuzz/
fuzz:
	sh fuzz/run.sh $(FUZZ_SECONDS)

# a short form of both is part of the tests
chaos: build
	cargo build $(ALL) --examples
	CHAOS_ROUNDS=100 CHAOS_KILLS=50 cargo test $(ALL) --test it -- --nocapture chaos:: kill_9 crashes_of_the_database
	CHAOS_KILLS=50 node --test --test-force-exit tests/clients/chaos.test.mjs
	RECOVERY_CUTS=500 node --test --test-force-exit tests/clients/recovery.test.mjs

# kills each store's server under load twenty times, stops it and fills its disk; make test does it three times
store-chaos: postgres
	CHAOS_KILLS=20 cargo test $(ALL) --test it -- --nocapture --test-threads 1 under_load

# make test does each a few times, and pulls no cables; that needs root. Half an hour
cluster-chaos: build postgres redis
	cargo build $(ALL) --examples
	CLUSTER_HANGS=long CLUSTER_CABLES=10 CLUSTER_CUTS=60 CLUSTER_PASSERS=10000 CHAOS_KILLS=20 \
		cargo test $(ALL) --test it -- --nocapture cluster_ ghosts:: namespaces:: nodes::
	CLUSTER_ROUNDS=20 node --test --test-force-exit tests/clients/cluster.test.mjs

soak:
	cargo build $(ALL) --examples
	SOAK_SECONDS=600 cargo test $(ALL) --test it -- --nocapture soak::

LOADGEN = --locked --manifest-path benches/loadgen/Cargo.toml --target-dir target/loadgen

# target/loadgen/release/phxload, for any Phoenix Channels server
loadgen:
	cargo build --release $(LOADGEN)

PAIRS ?= 5
PARTS ?=
BEFORE ?=

# takes two cores that do nothing else, for an hour, of which the part `cluster` takes twenty-five minutes. PARTS="memory storm"
# measures only those, and BEFORE=path/to/realtime-chat another server in turn with the one that is built
bench: build loadgen valgrind strace postgres redis
	cargo build --release --locked -p hinotori --example reference
	cargo bench --locked --bench posts --no-run
	python3 benches/run.py --pairs $(PAIRS) $(PARTS:%=--only %) $(BEFORE:%=--before %)
	sh tests/venv.sh bench-venv benches/requirements.txt
	target/bench-venv/bin/python benches/report.py

valgrind:
	@sh tests/install.sh /usr/bin/valgrind valgrind

strace:
	@sh tests/install.sh /usr/bin/strace strace

# clients in Python: of channels against the example reference, of Supabase against supabase-realtime
clients:
	cargo build $(ALL) --example reference
	sh tests/venv.sh clients-venv tests/clients/python/requirements.txt
	target/clients-venv/bin/python -B -m unittest discover -s tests/clients/python
	cargo build --locked --all-features -p supabase-realtime
	sh tests/venv.sh supabase-venv tests/clients/supabase/requirements.txt
	target/supabase-venv/bin/python -B -m unittest discover -s tests/clients/supabase

chromium:
	@sh tests/install.sh $(CHROMIUM) chromium fonts-noto-cjk fonts-noto-color-emoji

nginx:
	@sh tests/install.sh $(NGINX) nginx

# looks deploy/realtime-chat.service over
systemd:
	@sh tests/install.sh /usr/bin/systemd-analyze systemd procps

# backs databases up
sqlite:
	@sh tests/install.sh /usr/bin/sqlite3 sqlite3

# servers that the tests start
postgres:
	@sh tests/install.sh $(firstword $(wildcard /usr/lib/postgresql/*/bin/postgres) /usr/lib/postgresql/bin/postgres) postgresql

redis:
	@sh tests/install.sh /usr/bin/redis-server redis-server

fmt:
	cargo fmt
	cargo fmt --manifest-path fuzz/Cargo.toml
	cargo fmt --manifest-path benches/loadgen/Cargo.toml

LIBRARY = --locked -p hinotori --all-targets

lint:
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo fmt --check --manifest-path benches/loadgen/Cargo.toml
	cargo clippy $(ALL) --all-targets -- -D warnings
	cargo clippy $(LIBRARY) --no-default-features -- -D warnings
	cargo clippy $(LIBRARY) --no-default-features --features tls -- -D warnings
	cargo clippy $(LIBRARY) --no-default-features --features metrics -- -D warnings
	cargo clippy $(LOADGEN) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(ALL) --no-deps --document-private-items

clean:
	cargo clean
	rm -rf node_modules priv/static apps/rooms/page/node_modules apps/rooms/page/dist
