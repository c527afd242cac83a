#!/bin/sh
# The instants of freeze N, said in the record by the snapshot command itself:  instant.sh FOLDER N COMMAND...
# What the kernel says of locks, and which files there are, is kept at that moment too.
folder=$1 n=$2
shift 2
marker=$(cat "$folder/marker") || exit 3
echo "witness begin $n" > "$marker" || exit 3
cat /proc/locks > "$folder/freezes/$n.locks" || exit 3
cat /proc/self/mountinfo > "$folder/freezes/$n.mounts" || exit 3
echo "witness locks $n" > "$marker" || exit 3
while IFS= read -r place; do
    find "$place" -xdev -printf '%i %p\0'
done < "$folder/places" > "$folder/freezes/$n.names" 2>/dev/null
"$@"
code=$?
echo "witness end $n" > "$marker" || exit 3
exit $code
