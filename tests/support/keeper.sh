#!/usr/bin/env bash
# Starts control planes for a test process and outlives it: when the pipe on stdin closes, however that came about,
# everything in the root directory is stopped and removed. Each line of stdin has fields between tabs: the name of a directory
# to start one in, add-ons between commas (or -), isolated (in a network namespace of its own, with nothing but lo) or shared,
# and NAME=VALUE of the environment.
set -u
seatrial=$1 root=$2
down() { for dir in "$root"/*/; do [ -e "$dir/sim.json" ] && "$seatrial" sim down --dir "$dir"; done; }
while IFS=$'\t' read -ra line; do
  name=${line[0]} up=(env "${line[@]:3}" "$seatrial" sim up --dir "$root/${line[0]}")
  [ "${line[1]}" = - ] || up+=(--with "${line[1]}" --listen-on-all-interfaces --wait 300)
  # shellcheck disable=SC2016 # the arguments are the inner shell's
  [ "${line[2]}" = isolated ] && up=(unshare -n sh -c 'ip link set lo up && exec "$@"' - "${up[@]}")
  (
    "${up[@]}" >"$root/$name.log" 2>&1
    echo $? >"$root/$name.partial"
    mv "$root/$name.partial" "$root/$name.exit"
  ) </dev/null &
done
# One that is only just starting has nothing to stop yet: it is waited for and stopped then.
down
wait
down
rm -rf "$root"
