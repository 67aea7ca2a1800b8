// The state of an instance, and whether requests reach it.

import { Flex, Tag } from 'antd';
import { useTranslation } from 'react-i18next';

import type { Instance } from '../api/scheduler';
import { State } from './basics';

export function InstanceState({ instance }: { instance: Instance }) {
  const { t } = useTranslation();
  return (
    <Flex gap={4}>
      <State value={instance.state} />
      {instance.state === 'running' && !instance.available && <Tag>{t('apps.notInRotation')}</Tag>}
    </Flex>
  );
}
