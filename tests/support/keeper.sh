#!/usr/bin/env bash
# Starts control planes for a test process and outlives it: when the pipe on stdin closes, however that came about,
# everything in the root directory is stopped and removed. Each line of stdin is the name of a directory to start one in.
set -u
seatrial=$1 root=$2
down() { for dir in "$root"/*/; do [ -e "$dir/sim.json" ] && "$seatrial" sim down --dir "$dir"; done; }
while read -r name; do
  (
    "$seatrial" sim up --dir "$root/$name" >"$root/$name.log" 2>&1
    echo $? >"$root/$name.partial"
    mv "$root/$name.partial" "$root/$name.exit"
  ) </dev/null &
done
# One that is only just starting has nothing to stop yet: it is waited for and stopped then.
down
wait
down
rm -rf "$root"
