// What a change would do: the answer to every dry run.

export interface ChangePreview {
  changed: boolean;
  revision: number;
  diff: string[];
  workloads: { workload: string; before: number; after: number; added: number; removed: number; replaced: number }[];
  batches: { step: number; starts: { name: string; revision: number }[]; stops: { name: string; node: string }[] }[];
  more_batches: boolean;
  given_back: string[];
  volumes: { volume: string; node: string; kept: boolean }[];
  notes: string[];
}
