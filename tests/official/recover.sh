#!/usr/bin/env bash
# A whole disaster recovery with CCF's own tools, as operators and members of a real service would do it: curl, openssl, jq
# and the scripts of the Python package `ccf` (ccf_cose_sign1, submit_recovery_share.sh, keygenerator.sh). Then the result is
# lost and recovered again, from the newest snapshot, and once more without any.
#
#   recover.sh REKINDLE LEDGER SNAPSHOTS MEMBERS WORK VENV [GENERATIONS]
#
#   REKINDLE     the binary
#   LEDGER       directory of the dead service's ledger; only read
#   SNAPSHOTS    directory of its snapshots, only read; - for none
#   MEMBERS      directory with memberN_cert.pem, memberN_privk.pem, memberN_enc_privk.pem, service_cert.pem; only read
#   WORK         directory to make: 1/, 2/, 3/ (one for each recovery) and members/
#   VENV         Python environment with the package ccf
#   GENERATIONS  how many recoveries, 3 if not given
#
# Ends with 0 only if every step was as it must be; otherwise the last line on stderr says which was not.
set -euo pipefail

rekindle=$(realpath "$1") ledger=$(realpath "$2") snapshots=$3 members=$(realpath "$4") work=$5 venv=$(realpath "$6")
generations=${7:-3}
[ "$snapshots" = - ] || snapshots=$(realpath "$snapshots")
here=$(cd "$(dirname "$0")" && pwd)
version='api-version=2024-07-01'
export PATH="$venv/bin:$PATH" PYTHONDONTWRITEBYTECODE=1

fail() { echo "recover.sh: $*" >&2; exit 1; }
say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }
for tool in curl jq openssl ccf_cose_sign1 submit_recovery_share.sh keygenerator.sh verify_ledger_secrets_chain.py; do
  command -v "$tool" >/dev/null || fail "$tool is not installed"
done

# Whatever happens, the node that was started here does not stay.
node=
trap '[ -z "$node" ] || kill -KILL "$node" 2>/dev/null || true' EXIT
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR

mkdir -p "$work"
work=$(realpath "$work")
cp -R "$members" "$work/members"
chmod -R u+w "$work/members"
members=$work/members

# -- The node --

# Waits until a command succeeds, at most two minutes; a node that has ended ends the waiting.
await() {
  local what=$1 deadline=$((SECONDS + 120))
  shift
  until "$@"; do
    kill -0 "$node" 2>/dev/null || fail "the node ended while waiting for $what: $(tail -n 3 "$home/node.log")"
    [ $SECONDS -lt $deadline ] || fail "waited in vain for $what: $(tail -n 3 "$home/node.log")"
    sleep 0.05
  done
}

# A request to the node, which must be the one that the new service has endorsed. Prints the body; fails on a refusal.
ask() {
  local path=$1
  shift
  curl -sS --fail-with-body --max-time 20 --cacert "$home/service_cert.pem" "$@" "$url$path"
}
state_is() { [ "$(curl -sS --insecure --max-time 20 "$url/node/state" | jq -r .state)" = "$1" ]; }
endorsed() { ask /node/state >/dev/null 2>&1; }
ready() { ask "/node/ready/$1" >/dev/null 2>&1; }

# Starts a node that recovers $home/ledger, with the configuration of CCF's documentation: one interface that is endorsed by
# the service. The port is the system's choice.
start() {
  cat >"$home/config.json" <<CONFIG
{
  "network": {
    "node_to_node_interface": { "bind_address": "127.0.0.1:0" },
    "rpc_interfaces": {
      "primary_rpc_interface": {
        "bind_address": "127.0.0.1:0",
        "max_open_sessions_soft": 1000,
        "max_open_sessions_hard": 1010,
        "endorsement": { "authority": "Service" }
      }
    }
  },
  "node_certificate": { "subject_alt_names": ["iPAddress:127.0.0.1"] },
  "command": {
    "type": "Recover",
    "service_certificate_file": "service_cert.pem",
    "recover": {
      "initial_service_certificate_validity_days": 1,
      "previous_service_identity_file": "previous_service_cert.pem"
    }
  },
  "ledger": { "directory": "ledger" },
  "snapshots": { "directory": "snapshots" },
  "ledger_signatures": { "tx_count": 5000, "delay": "100ms" },
  "output_files": { "pid_file": "node.pid", "rpc_addresses_file": "rpc_addresses.json" }
}
CONFIG
  (cd "$home" && exec "$rekindle" --config config.json) >"$home/node.log" 2>&1 &
  node=$!
  await "the node's address" test -s "$home/rpc_addresses.json"
  url=https://$(jq -r .primary_rpc_interface "$home/rpc_addresses.json")
}

stop() {
  local code=0
  kill -TERM "$node"
  wait "$node" || code=$?
  [ $code = 0 ] || fail "the node ended with $code after SIGTERM: $(tail -n 3 "$home/node.log")"
  node=
}

# -- The members --

names() { (cd "$members" && ls member*_cert.pem | sed 's/_cert.pem$//' | sort -V); }
id_of() { openssl x509 -in "$members/$1_cert.pem" -noout -fingerprint -sha256 | cut -d= -f2 | tr -d : | tr A-F a-f; }

# Signs stdin as a member: NAME, type of message, further options of ccf_cose_sign1.
sign() {
  local name=$1 type=$2
  shift 2
  ccf_cose_sign1 --content - --signing-cert "$members/${name}_cert.pem" --signing-key "$members/${name}_privk.pem" \
    --ccf-gov-msg-type "$type" --ccf-gov-msg-created_at "$(date -uIs)" "$@"
}
# Sends stdin as a signed request, and prints the answer.
send() { ask "$1?$version" -X POST -H 'content-type: application/cose' --data-binary @-; }

# Proposes the actions on stdin, and lets member after member vote until they are accepted.
pass() {
  local answer proposal state ballot='{"ballot": "export function vote (proposal, proposerId) { return true }"}'
  answer=$(jq -c '{actions: .}' | sign "$first" proposal | send /gov/members/proposals:create) \
    || fail "the proposal was refused: $answer"
  proposal=$(jq -r .proposalId <<<"$answer") state=$(jq -r .proposalState <<<"$answer")
  for name in $(names); do
    [ "$state" = Open ] || break
    answer=$(sign "$name" ballot --ccf-gov-msg-proposal_id "$proposal" <<<"$ballot" \
      | send "/gov/members/proposals/$proposal/ballots/$(id_of "$name"):submit") || fail "$name's ballot was refused: $answer"
    state=$(jq -r .proposalState <<<"$answer")
  done
  [ "$state" = Accepted ] || fail "proposal $proposal is $state after everybody's vote"
}
action() { jq -n --arg name "$1" --argjson args "${2:-null}" '[{name: $name} + (if $args then {args: $args} else {} end)]'; }

# The member fetches the newest state digest, and acknowledges it.
acknowledge() {
  local name=$1 id digest
  id=$(id_of "$name")
  digest=$(printf '{}' | sign "$name" state_digest | send "/gov/members/state-digests/$id:update")
  jq -c '{stateDigest}' <<<"$digest" | sign "$name" ack | send "/gov/members/state-digests/$id:ack"
  [ "$(ask "/gov/service/members/$id?$version" | jq -r .status)" = Active ] || fail "$name is not active"
}

# Members submit their shares in the order given, until there are enough.
submit_shares() {
  local answer
  for name in "$@"; do
    [ -e "$members/${name}_enc_privk.pem" ] || continue
    answer=$(submit_recovery_share.sh "$url" --api-version 2024-07-01 --member-enc-privk "$members/${name}_enc_privk.pem" \
      --member-id-privk "$members/${name}_privk.pem" --member-id-cert "$members/${name}_cert.pem" \
      --cacert "$home/service_cert.pem") || fail "$name's share was refused: $answer"
    answer=$(tail -n 1 <<<"$answer")
    say "  $name: $(jq -r '.message | gsub("\n"; ", ")' <<<"$answer")"
    [[ $answer != *"End of recovery procedure initiated"* ]] || return 0
  done
  fail "all shares together were not enough"
}

# -- One recovery --

# Generation, previous service's certificate. $home/ledger and $home/snapshots are in place.
recover() {
  local generation=$1 previous=$2 newest startup
  cp "$previous" "$home/previous_service_cert.pem"
  newest=$(ls "$home/snapshots" | sed -n 's/^snapshot_\([0-9]*\)_.*committed$/\1/p' | sort -n | tail -n 1)
  start
  await PartOfPublicNetwork state_is PartOfPublicNetwork
  await "the node's endorsed certificate" endorsed
  startup=$(ask /node/state | jq -r .startup_seqno)
  [ "$startup" = "${newest:-0}" ] || fail "the node started from seqno $startup, the newest snapshot is at ${newest:-none}"
  say "recovery $generation: PartOfPublicNetwork, from the snapshot at $startup"

  await "the members' interface" ready gov
  jq -n --rawfile previous "$home/previous_service_cert.pem" --rawfile next "$home/service_cert.pem" \
    '[{name: "transition_service_to_open", args: {previous_service_identity: $previous, next_service_identity: $next}}]' | pass
  # Every second time the other way around, so that owners and new members come first.
  if [ $((generation % 2)) = 1 ]; then submit_shares $(names); else submit_shares $(names | tac); fi
  await PartOfNetwork state_is PartOfNetwork
  await "the open service" ready app
  [ "$(ask /node/network | jq -r .service_status)" = Open ] || fail "the service is not open"
  say "recovery $generation: PartOfNetwork, the service is open"

  live_on "$generation"
  stop
  check "$generation"
}

# What an open service's members do, something else each time.
live_on() {
  local generation=$1 new
  case $generation in
    1) # A new member, who will hold a share in the next recovery; a new ledger secret; and all to disk.
      new=member9
      (cd "$members" && keygenerator.sh --name $new --gen-enc-key) >"$home/keygenerator.log" 2>&1
      jq -n --rawfile cert "$members/${new}_cert.pem" --rawfile key "$members/${new}_enc_pubk.pem" \
        '[{name: "set_member", args: {cert: $cert, encryption_pub_key: $key}}]' | pass
      acknowledge $new
      action trigger_ledger_rekey | pass
      put_aside
      ;;
    2) # Two shares from now on.
      action set_recovery_threshold '{"recovery_threshold": 2}' | pass
      acknowledge "$first"
      put_aside
      ;;
    *)
      (cd "$home" && keygenerator.sh --name user9) >"$home/keygenerator.log" 2>&1
      jq -n --rawfile cert "$home/user9_cert.pem" '[{name: "set_user", args: {cert: $cert}}]' | pass
      ;;
  esac
}
# A snapshot and the end of a chunk, and waits for both files.
put_aside() {
  local chunks snapshots
  chunks=$(committed ledger) snapshots=$(committed snapshots)
  jq -s add <(action trigger_snapshot) <(action trigger_ledger_chunk) | pass
  await "a new snapshot" more_than snapshots "$snapshots"
  await "a new chunk" more_than ledger "$chunks"
}
committed() { ls "$home/$1" | grep -c '\.committed$' || true; }
more_than() { [ "$(committed "$1")" -gt "$2" ]; }

# What was written, in the eyes of the official reader and in Rekindle's.
check() {
  local generation=$1 official ours leftovers
  leftovers=$(ls "$home/ledger" | grep -E 'recovery|ignored' || true)
  [ -z "$leftovers" ] || fail "an open service leaves $leftovers"
  official=$(python "$here/../official_reader.py" "$home/ledger" "$home"/snapshots/*.committed)
  printf '%s' "$official" >"$home/official.json"
  ours=$("$rekindle" verify "$home/ledger" --snapshots "$home/snapshots" --service-cert "$home/service_cert.pem" --json) \
    || fail "rekindle verify finds something: $ours"
  for field in entries last_seqno signatures cose_signatures last_signed root; do
    [ "$(jq -c ".[0].$field" <<<"$official")" = "$(jq -c ".$field" <<<"$ours")" ] || fail "the readers disagree on $field"
  done
  [ "$(jq -c .last_seqno <<<"$ours")" = "$(jq -r .last_signed <<<"$ours" | cut -d. -f2)" ] \
    || fail "a node that was stopped leaves unsigned entries"
  "$rekindle" unlock "$home/ledger" --snapshots "$home/snapshots" --json \
    --member-key "$members"/member*_enc_privk.pem >"$home/unlock.json" || fail "rekindle unlock: $(cat "$home/unlock.json")"
  [ "$(jq '.private_domains - .private_decrypted' "$home/unlock.json")" = 0 ] || fail "private domains stay closed"
  if [ "$chained" = yes ]; then
    verify_ledger_secrets_chain.py --uncommitted "$home/ledger" >"$home/chain.log" 2>&1 \
      || fail "the chain of ledger secrets is broken: $(tail -n 3 "$home/chain.log")"
  fi
  say "recovery $generation: $(jq -r .entries <<<"$ours") entries up to $(jq -r .last_signed <<<"$ours"), both readers agree"
}

first=$(names | head -n 1)
# The official tool for the chain of secrets refuses some ledgers that CCF itself has written.
if verify_ledger_secrets_chain.py --uncommitted "$ledger" >/dev/null 2>&1; then chained=yes; else chained=no; fi
previous=$members/service_cert.pem
for ((generation = 1; generation <= generations; generation++)); do
  home=$work/$generation
  mkdir -p "$home/ledger" "$home/snapshots"
  cp "$ledger"/ledger_* "$home/ledger/"
  if [ "$snapshots" != - ]; then cp "$snapshots"/snapshot_* "$home/snapshots/"; fi
  chmod -R u+w "$home"
  recover "$generation" "$previous"
  ledger=$home/ledger previous=$home/service_cert.pem
  # From the newest snapshot the second time, without the third time.
  if [ "$generation" = 1 ]; then snapshots=$home/snapshots; else snapshots=-; fi
done
