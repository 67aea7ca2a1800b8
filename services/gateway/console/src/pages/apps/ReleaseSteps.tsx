// A release step by step: how much of the requests go to the new revision, what it waits for, and going on or back.

import { Button, Flex, Progress, Tag } from 'antd';
import { useTranslation } from 'react-i18next';

import { release, type ReleaseNow } from '../../api/release';
import { AskButton } from '../../parts/dialogs';
import { useMay, type At } from '../../parts/may';
import { useAction } from '../../parts/query';

/** `at`: the space of the application. */
export function ReleaseSteps({ url, at, now }: { url: string; at: At; now: ReleaseNow }) {
  const { t } = useTranslation();
  const may = useMay('apps.write', { org: at.org, project: at.project, space: at.space });
  const refresh = [['app', url], ['instances', url], ['cluster-apps']];
  const promote = useAction((full: boolean) => release.promote(url, full), { done: t('apps.done'), refresh });
  const hold = useAction((pause: boolean) => (pause ? release.pause(url) : release.resume(url)), { done: t('apps.done'), refresh });
  const abort = useAction(() => release.abort(url), { done: t('apps.done'), refresh });
  const stepped = now.strategy === 'canary' || now.strategy === 'blue-green';
  return (
    <div className="stack">
      <Flex gap="small" align="center" wrap>
        <Tag color="blue">{t(`release.strategy.${now.strategy}`, { defaultValue: now.strategy })}</Tag>
        {now.steps > 0 && <span>{t('release.step', { step: now.step, steps: now.steps })}</span>}
        <Tag color={now.paused ? 'orange' : 'default'}>{now.paused ? t('release.paused') : t(`release.waits.${now.waits_for}`, { defaultValue: now.waits_for })}</Tag>
        {now.header && <span className="mono">{now.header}</span>}
      </Flex>
      {now.reason && <span>{now.reason}</span>}
      {stepped && (
        <div>
          {now.from === null ? t('release.requests', { percent: now.percent }) : t('release.weights', { revision: now.revision, percent: now.percent, from: now.from, rest: 100 - now.percent })}
          <Progress percent={now.percent} size="small" aria-label={t('release.requests', { percent: now.percent })} />
        </div>
      )}
      {may && (
        <Flex gap="small" wrap>
          {stepped && (
            <>
              <Button size="small" type="primary" loading={promote.isPending} onClick={() => promote.mutate(false)}>
                {t('release.promote')}
              </Button>
              <AskButton ask={t('release.confirmFull')} label={t('release.full')} onConfirm={() => promote.mutate(true)} />
            </>
          )}
          <Button size="small" loading={hold.isPending} onClick={() => hold.mutate(!now.paused)}>
            {t(now.paused ? 'release.resume' : 'release.pause')}
          </Button>
          {now.from !== null && <AskButton danger ask={t('release.confirmAbort', { revision: now.from })} label={t('release.abort')} onConfirm={() => abort.mutate()} />}
        </Flex>
      )}
    </div>
  );
}
