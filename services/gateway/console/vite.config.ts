import react from '@vitejs/plugin-react';
import { defineConfig, loadEnv } from 'vite';

// The development server keeps the browser on one origin: everything that is not the console goes to the gateway.
const gateway = loadEnv('', '.', 'GANTRY_').GANTRY_URL ?? 'https://localhost:7443';
const proxy = Object.fromEntries(
  ['/api/v1', '/api/openapi.json', '/auth', '/oauth2', '/login', '/register', '/logout', '/readyz'].map((path) => [path, { target: gateway, secure: false }]),
);

export default defineConfig({
  plugins: [react()],
  server: { proxy },
  build: {
    target: 'es2022',
    sourcemap: false,
    // `dist/.gitkeep` stays: the gateway's crate embeds the folder, built or not.
    emptyOutDir: true,
    chunkSizeWarningLimit: 900,
    rolldownOptions: {
      output: {
        codeSplitting: {
          groups: [
            { name: 'charts', test: /node_modules[\\/](echarts|zrender)/, priority: 20 },
          ],
        },
      },
    },
  },
});
