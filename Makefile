# make run    a node on http://127.0.0.1:8004
# make check  quick: format, lints, tidy
# make test   everything, with real servers, clients and a browser; installs what is missing
# make fuzz   texts that nobody thought of, for SECONDS=60 to each target; installs cargo-fuzz if it is missing
# make check-ops  deploy, k8s, grafana, loadtest and docs, as far as that goes without a cluster; installs its tools
# make loadtest   load on three nodes behind a balancer; SCENARIO=name for one, SCALE=full for the sizes of its tables
# make bench  the rig: what a node costs, beside the least that any server could
# make sbom   what the binary is made of, as CycloneDX
# make deb    a Debian package, with the systemd unit
# make soak   simulated worlds from new seeds, for SECONDS=300; one again: SIM_SEED=n cargo test --test it sim::losses

.DEFAULT_GOAL := run
# make page   is the page in playground/dist what its sources make; its own tests
.PHONY: run check test tools page unit e2e check-ops ops-tools loadtest bench sbom deb soak fuzz

PACKAGES := redis-server chromium openssl npm haproxy postgresql rabbitmq-server
VENV := .venv
OPS_PACKAGES := curl haproxy nginx prometheus redis-server postgresql rabbitmq-server systemd
KUSTOMIZE := v5.8.1
SECONDS := 300
E2E := $(VENV)/.installed
JS := tests/e2e/js/node_modules/.installed
OPS_VENV := .venv-ops
OPS := $(OPS_VENV)/.installed

run:
	cargo run --release

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace --test it tidy::

test: tools $(E2E) $(JS) page unit e2e

# All name the whole workspace, and tests where anything does: other packages would mean other features of what they
# depend on, and all of that built once more.
# More at once than there are cores: the long ones wait for leases, and for what they broke.
unit:
	cargo test --workspace --all-targets -- --test-threads=6

# The page is committed as it is built, so that cargo alone makes the binary: is that what its sources make?
page:
	playground/check-dist.sh
	cd playground && npm run --silent check

# Files side by side, more than there are cores: they wait for most of their time. Who may run beside whom, and in which
# order files are begun, is said in tests/e2e/support/turns.py.
e2e: $(E2E) $(JS)
	cargo build --workspace --all-targets
	$(VENV)/bin/python -m pytest tests/e2e -n 3 --dist loadfile --no-loadscope-reorder

# What can be checked without a cluster, and what is said about the binary against the binary.
check-ops: ops-tools $(OPS)
	cargo build --workspace
	$(OPS_VENV)/bin/python -m pytest tests/ops -n 2 --dist loadfile

ops-tools: PACKAGES := $(OPS_PACKAGES)
ops-tools: tools

# Three nodes, HAProxy, Redis and PostgreSQL of deploy/cluster.sh. K6 names a k6 program; without it the scenarios are
# run by loadtest/k6/runner.
loadtest: SCALE := smoke
loadtest: ops-tools
	cargo build --release -p collabd -p rig
	python3 loadtest/run.py $(SCENARIO) --scale $(SCALE)

# On a machine that does nothing else, for a good while.
bench:
	cargo build --release -p collabd -p rig
	set -e; for run in fanout "fanout --redis" idle commit handshake agents text storm \
	    "order --kill-node-at 20 --redis-restart-at 40"; do \
	  target/release/rig $$run; \
	done

# Beside the sources of the binary alone, not of its tests and tools.
sbom:
	command -v cargo-cyclonedx >/dev/null || cargo install --locked cargo-cyclonedx
	cargo cyclonedx --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu --override-filename collabd.cdx
	rm -f loadtest/*/collabd.cdx.json
	mkdir -p target
	mv collabd.cdx.json target/

deb:
	command -v cargo-deb >/dev/null || cargo install --locked cargo-deb
	cargo build --release --locked -p collabd
	mkdir -p target/deb
	strip --strip-debug -o target/deb/collabd target/release/collabd
	cargo deb --no-build --no-strip

soak:
	SIM_SECONDS=$(SECONDS) cargo test --workspace --test it sim::soak -- --nocapture

# What is found on the way stays in fuzz/corpus. The flags of its build are not stable Rust's.
fuzz: SECONDS := 60
fuzz:
	command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	set -e; for target in packet talk yjs; do \
	  mkdir -p fuzz/corpus/$$target; \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	    -max_total_time=$(SECONDS); \
	done

# Servers and the browser, from the distribution's own packages. Asked for only when one is missing: a package has a
# program of its name, but PostgreSQL's server is off PATH, where its clients may be without it, and RabbitMQ's may be.
# Where packages start their servers, those listen on their own ports; tests take others.
tools:
	@missing=""; \
	for package in $(PACKAGES); do \
	  case $$package in \
	    postgresql) program='/usr/lib/postgresql/*/bin/postgres' ;; \
	    systemd) program=systemd-analyze ;; \
	    rabbitmq-server) program=/usr/lib/rabbitmq/bin/rabbitmq-server ;; \
	    *) program=$$package ;; \
	  esac; \
	  command -v $$program >/dev/null || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "installing$$missing"; \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq $$missing >/dev/null; \
	fi

$(E2E): tests/e2e/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(OPS): tests/e2e/requirements.txt tests/ops/requirements.txt tests/ops/checkov.txt
	python3 -m venv $(OPS_VENV)
	$(OPS_VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/ops/requirements.txt
	python3 -m venv $(OPS_VENV)/checkov
	$(OPS_VENV)/checkov/bin/pip install --quiet --disable-pip-version-check -r tests/ops/checkov.txt
	GOBIN=$(CURDIR)/$(OPS_VENV)/bin go install sigs.k8s.io/kustomize/kustomize/v5@$(KUSTOMIZE)
	touch $@

# Clients that only JavaScript has.
$(JS): tests/e2e/js/package-lock.json
	npm ci --silent --no-audit --no-fund --prefix tests/e2e/js
	touch $@
