// Two languages with the same keys. The browser's choice at first, the user's afterwards.

import i18next from 'i18next';
import { initReactI18next } from 'react-i18next';

import { enUS } from './en-US';
import { zhCN } from './zh-CN';

const KEY = 'gantry.language';

export const languages = ['zh-CN', 'en-US'] as const;
export type Language = (typeof languages)[number];

function first(): Language {
  const chosen = localStorage.getItem(KEY);
  if (chosen === 'zh-CN' || chosen === 'en-US') return chosen;
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh-CN' : 'en-US';
}

export function chooseLanguage(language: Language): void {
  localStorage.setItem(KEY, language);
  void i18next.changeLanguage(language);
}

export function startI18n(): void {
  void i18next.use(initReactI18next).init({
    resources: { 'zh-CN': { translation: zhCN }, 'en-US': { translation: enUS } },
    lng: first(),
    fallbackLng: 'en-US',
    // React escapes already.
    interpolation: { escapeValue: false },
  });
}
