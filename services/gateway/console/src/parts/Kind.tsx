// What happened: in words where there are some, and by the name that filters and programs use.

import { useTranslation } from 'react-i18next';

export function Kind({ kind }: { kind: string }) {
  const { t, i18n } = useTranslation();
  const key = `happened.${kind}`;
  if (!i18n.exists(key)) return <span className="mono">{kind}</span>;
  return (
    <span className="kind">
      {t(key)} <small className="mono">{kind}</small>
    </span>
  );
}
