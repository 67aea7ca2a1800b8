// Scheduler: images that a node has before an instance needs them.

import { scheduler, type NodeItem } from './scheduler';

export interface Ahead {
  image: string;
  /** Named by an operator; the others are those of releases and spaces. */
  kept: boolean;
  /** Not there until the node has told of it. */
  state?: string;
  reason: string;
}

/** What operators have named, then what the node fetches for releases and spaces. */
export function aheadOf(node: Pick<NodeItem, 'settings' | 'images'>): Ahead[] {
  const seen = node.images ?? {};
  const kept = node.settings?.images ?? [];
  const others = Object.keys(seen).filter((image) => !kept.includes(image)).toSorted();
  return [...kept, ...others].map((image) => ({ image, kept: kept.includes(image), state: seen[image]?.state, reason: seen[image]?.reason ?? '' }));
}

/** They are part of the node's settings, which are set as a whole: as they are now, and refused if somebody was faster. A new name is pinned by its digest. */
export async function setAhead(node: string, change: (images: string[]) => string[]) {
  const { value, etag } = await scheduler.nodeSettings(node);
  return scheduler.setNode(node, { ...value, images: change(value.images ?? []) }, etag);
}
