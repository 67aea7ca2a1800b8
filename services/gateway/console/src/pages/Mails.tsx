// Whether mail gets out: for those who look after the platform.

import { useQuery } from '@tanstack/react-query';
import { Alert, Card } from 'antd';
import { useTranslation } from 'react-i18next';

import { get } from '../api/http';
import { mails, type MailState } from '../api/identity';
import { Answer, Time } from '../parts/basics';

export function Mails() {
  const { t } = useTranslation();
  const query = useQuery({ queryKey: ['mails'], queryFn: () => get<MailState>(mails), refetchInterval: 30_000 });
  return (
    <Card size="small" title={t('health.mails')}>
      <Answer query={query}>{() => <State state={query.data!} />}</Answer>
    </Card>
  );
}

function State({ state }: { state: MailState }) {
  const { t } = useTranslation();
  if (!state.configured) return <Alert type="info" showIcon title={t('health.noMail')} />;
  if (state.waiting === 0) return t('health.mailsOut');
  return (
    <Alert
      type={state.tries > 1 ? 'warning' : 'info'}
      showIcon
      title={t('health.mailsWait', { count: state.waiting })}
      description={
        <>
          {state.fault && <div>{state.fault}</div>}
          {state.next_try_at && (
            <div>
              {t('health.nextTry')} <Time at={state.next_try_at} />
            </div>
          )}
        </>
      }
    />
  );
}
