#!/bin/sh
# Written by gantry at every start: {program}. A container with a folder in {place}/restore goes on from the checkpoint in it, where others begin.
verb= bundle= before= id=
for word in "$@"; do
  case "$word" in create|start) [ -n "$verb" ] || verb=$word ;; esac
  [ "$before" = --bundle ] && bundle=$word
  before=$word id=$word
done
from="{place}/restore/$id"
[ -n "$verb" ] && [ -d "$from" ] || exec "{program}" "$@"
# It runs since it was created.
[ "$verb" = start ] && exit 0
PATH="{place}/restore/bin:$PATH"
if [ -f "$from/layer.tar" ]; then
  # What an overlay is made of may only change while it is not mounted.
  line=$(grep -F " $bundle/rootfs " /proc/self/mountinfo | tail -n 1)
  options=${line##* - overlay overlay }
  upper=${options##*upperdir=}
  umount "$bundle/rootfs" && tar -C "${upper%%,*}" --xattrs '--xattrs-include=*' -xpf "$from/layer.tar" \
    && mount -t overlay overlay -o "$options" "$bundle/rootfs" || { echo "the layer of the checkpoint cannot be put in place" >&2; exit 1; }
fi
count=$#
while [ "$count" -gt 0 ]; do
  word=$1 count=$((count - 1))
  shift
  if [ "$word" = create ] && [ -n "$verb" ]; then
    verb=
    set -- "$@" restore --detach --no-subreaper --manage-cgroups-mode soft --image-path "$from/image" --work-path "$from/work"
  else
    set -- "$@" "$word"
  fi
done
exec "{program}" "$@"
