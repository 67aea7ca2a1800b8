// The console's words in Chinese. en-US.ts has the same keys.

import { account } from './areas/account';
import { addressesWords } from './areas/addresses';
import { alertsWords } from './areas/alerts';
import { appsWords } from './areas/apps';
import { buildsWords } from './areas/builds';
import { clusterWords } from './areas/clusters';
import { editorWords } from './areas/editor';
import { findingWords } from './areas/finding';
import { flowWords } from './areas/flow';
import { happenedZh } from './areas/happened-zh';
import { identityWords } from './areas/identity';
import { imagesWords } from './areas/images';
import { marketWords } from './areas/market';
import { networkWords } from './areas/network';
import { operations } from './areas/operations';
import { parts } from './areas/parts';
import { placesWords } from './areas/places';
import { platformWords } from './areas/platform';
import { recordWords } from './areas/record';
import { registryWords } from './areas/registry';
import { shellWords } from './areas/shell';
import { signsWords } from './areas/signs';
import { upstreamsWords } from './areas/upstreams';
import type { enUS } from './en-US';

export const zhCN: typeof enUS = {
  ...account.zh,
  ...addressesWords.zh,
  ...alertsWords.zh,
  ...appsWords.zh,
  ...buildsWords.zh,
  ...clusterWords.zh,
  ...networkWords.zh,
  ...editorWords.zh,
  ...findingWords.zh,
  ...flowWords.zh,
  ...identityWords.zh,
  ...imagesWords.zh,
  ...marketWords.zh,
  ...operations.zh,
  ...placesWords.zh,
  ...platformWords.zh,
  ...recordWords.zh,
  ...registryWords.zh,
  ...shellWords.zh,
  ...signsWords.zh,
  ...upstreamsWords.zh,
  happened: happenedZh,
  parts: parts.zh,
};
