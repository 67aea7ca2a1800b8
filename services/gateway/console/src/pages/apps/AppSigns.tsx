// Signs of an intrusion in the instances of one application, also in those that have ended; or in one of them.

import { Flex, Typography } from 'antd';
import { useTranslation } from 'react-i18next';
import { Link, useParams } from 'react-router';

import { signs, type Sign } from '../../api/signs';
import { LiveMark } from '../../parts/basics';
import { useLiveList } from '../../parts/query';
import { to } from '../../place';
import { SignsTable, type Place } from '../space/SignsTable';

/** `only`: the instance whose signs are shown. */
export default function AppSigns({ url, only }: { url: string; only?: string }) {
  const { t } = useTranslation();
  const params = useParams();
  const place: Place = [params.org!, params.project!, params.space!];
  const query = useLiveList<Sign>(['signs', url], signs.ofApp(url));
  const items = only === undefined ? query.items : query.items.filter((one) => one.instance === only);
  return (
    <div className="stack">
      <Flex gap="middle" align="center" wrap>
        <LiveMark live={query.live} />
        <Typography.Text type="secondary">{t('signs.lookedFor')}</Typography.Text>
        <Link to={`${to.signs(...place)}?tab=follow`}>{t('signs.follow')}</Link>
      </Flex>
      <SignsTable one query={{ ...query, items }} place={place} empty={t('signs.none')} />
    </div>
  );
}
