// A line chart of time series. Loaded on its own: the chart library is the largest part of the console.

import { LineChart } from 'echarts/charts';
import { GridComponent, LegendComponent, TooltipComponent } from 'echarts/components';
import * as echarts from 'echarts/core';
import { CanvasRenderer } from 'echarts/renderers';
import { useEffect, useRef } from 'react';

import { useLook } from '../look';

echarts.use([LineChart, GridComponent, LegendComponent, TooltipComponent, CanvasRenderer]);

export interface Series {
  name: string;
  /** Milliseconds since 1970, value. */
  points: [number, number][];
}

export default function Chart({ series, label, format, height = 220 }: { series: Series[]; label: string; format: (value: number) => string; height?: number }) {
  const box = useRef<HTMLDivElement>(null);
  const { dark } = useLook();
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const chart = echarts.init(element, dark ? 'dark' : undefined);
    const resize = new ResizeObserver(() => chart.resize());
    resize.observe(element);
    return () => {
      resize.disconnect();
      chart.dispose();
    };
  }, [dark]);
  useEffect(() => {
    const chart = box.current && echarts.getInstanceByDom(box.current);
    chart?.setOption(
      {
        backgroundColor: 'transparent',
        animation: false,
        grid: { left: 8, right: 16, top: 12, bottom: series.length > 1 ? 34 : 8, outerBoundsMode: 'same' },
        // Drawn on the canvas: the page's policy allows no style attributes in text.
        tooltip: { trigger: 'axis', renderMode: 'richText', valueFormatter: (value: unknown) => format(Number(value)) },
        legend: series.length > 1 ? { bottom: 0, type: 'scroll' } : { show: false },
        xAxis: { type: 'time' },
        yAxis: { type: 'value', axisLabel: { formatter: format }, min: 0 },
        series: series.map((one) => ({ type: 'line', name: one.name, data: one.points, showSymbol: one.points.length < 3, lineStyle: { width: 2 }, areaStyle: { opacity: 0.08 } })),
      },
      { notMerge: true },
    );
  }, [series, format, dark]);
  return <div ref={box} role="img" aria-label={label} style={{ height }} />;
}
