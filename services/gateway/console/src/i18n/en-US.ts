// The console's words in English. zh-CN.ts has the same keys.

import { account } from './areas/account';
import { addressesWords } from './areas/addresses';
import { alertsWords } from './areas/alerts';
import { appsWords } from './areas/apps';
import { buildsWords } from './areas/builds';
import { clusterWords } from './areas/clusters';
import { editorWords } from './areas/editor';
import { findingWords } from './areas/finding';
import { flowWords } from './areas/flow';
import { happenedEn } from './areas/happened-en';
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

export const enUS = {
  ...account.en,
  ...addressesWords.en,
  ...alertsWords.en,
  ...appsWords.en,
  ...buildsWords.en,
  ...clusterWords.en,
  ...networkWords.en,
  ...editorWords.en,
  ...findingWords.en,
  ...flowWords.en,
  ...identityWords.en,
  ...imagesWords.en,
  ...marketWords.en,
  ...operations.en,
  ...placesWords.en,
  ...platformWords.en,
  ...recordWords.en,
  ...registryWords.en,
  ...shellWords.en,
  ...signsWords.en,
  ...upstreamsWords.en,
  happened: happenedEn,
  parts: parts.en,
};
