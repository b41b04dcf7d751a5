/** Plain English about everyday things, written for this, so that no model was trained on it and no run is about it. */
export const PROSE: readonly string[] = [
  `Bread needs little: flour, water, salt and something that makes it rise. Stir the four together in the evening, cover the bowl
with a cloth and leave it on the table. By morning the dough has doubled, and small bubbles sit under its skin. Fold it over itself a
few times, let it rest for an hour, and put it into an oven that is as hot as it will go. After forty minutes the crust is dark, and
the loaf sounds hollow when you knock on it from below. Then comes the hard part, which is to wait until it is cool.`,

  `The river behind our street was never wide, but in spring it carried the snow of three valleys and rose over the meadow. My
grandfather had painted marks on the wall of the shed, one for each flood that he remembered, with the year beside it. The highest
was above my head. We children did not believe it until one April night when we woke from the noise, looked out of the window
and saw the garden bench float slowly past the apple tree.`,

  `A bicycle that squeaks is asking for oil, and one that rattles is asking for a screwdriver. Turn it upside down, spin the back
wheel and listen. Wipe the chain with an old rag before you oil it, because oil on dirt makes a paste that grinds the metal away. Then
look at the brakes: if the pads are worn down to the line, they should be changed. Most repairs take less than a quarter of an hour,
and the tools for all of them fit into a small bag under the saddle.`,

  `The moon does not shine by itself. It reflects the light of the sun, and since it moves around the earth once a month, we see a
different part of its bright side every evening. When it stands between us and the sun, the dark side is turned our way, and the
night is black. Two weeks later the whole disc is lit. People have counted their days by it for thousands of years, and fishermen
still look at it, because the tides follow it as well.`,

  `On market days the square fills before seven. The cheese seller comes first, because her van needs the corner with the shade.
After her come the two brothers with potatoes, who never speak to each other and always stand side by side. By nine there is a
queue for the warm rolls. A man plays the accordion badly and is given more coins than he deserves. At one o'clock everything is
packed up, the sweepers arrive, and half an hour later only the pigeons remember that anything happened.`,

  `Whoever wants to learn an instrument should practise a little every day rather than a lot on Sunday. Ten minutes are enough if
they are spent on the bar that goes wrong, and not on the ones that already go well. Play it so slowly that you cannot make a mistake,
then a bit faster, then a bit faster still. It helps to sing the tune first. And it helps to stop while it is still fun, so that
there is something to look forward to the next day.`,

  `Cats sleep for most of the day, but they are seldom as deep asleep as they look. One ear keeps turning toward the door. When a
tin is opened in the kitchen, the animal that lay on the sofa like a cushion is suddenly between your feet. Ours had a plan for
every hour: windowsill in the morning, radiator at noon, the neighbour's roof in the afternoon. She came when she wanted and never
when she was called, and we were a little proud whenever she chose one of our laps.`,

  `To cross a mountain pass in winter you need warm clothes, something hot to drink and the good sense to turn round. The weather
up there changes within minutes. A sky without clouds at breakfast says nothing about the afternoon. Experienced walkers tell
somebody in the valley where they are going and when they mean to be back. They start early, eat before they are hungry, and rest
before they are tired. The summit, they say, is only half of the way.`,

  `The first letter took nine days to arrive. It had been sent from a small island, travelled by boat to the harbour town and then
waited in a sack because of a holiday. When the postman finally brought it, the envelope was damp and the ink had run, but the words
could still be read. It was an invitation. There would be music, it said, and fresh fish, and a bed for everyone who did not
mind sharing a room. We looked at the date and began to laugh: the feast had been the day before.`,

  `A good knife is dull after a few months, and most people do not notice, since it happens slowly. A test is easy: a tomato should
give way under the weight of the blade alone. To sharpen it, wet the stone, hold the blade at a low angle, and draw it across in long,
even strokes, first one side and then the other. Do not press. At the end wipe it dry and cut a sheet of paper with it. If the cut is
clean, put the knife away where nothing can knock against its edge.`,

  `Trains used to have windows that could be opened. You leaned out, in spite of the sign that forbade it, and the wind took your
breath away and sometimes your hat. In the tunnels everyone shouted. The guard punched a small hole into the ticket, a star in our
region and a heart in the next one, so that you could see from a ticket where its owner had been. I kept mine in a box. It
holds no more than a few grams of paper, and I would not give it away for anything.`,

  `Plants on a windowsill die of too much water more often than of too little. Put a finger into the soil: if it is moist, wait. The
pot should have a hole at the bottom, and the saucer should be emptied after half an hour. Leaves that turn yellow from below have
been drowned, while brown tips tell of dry air. In winter most kinds rest and want neither food nor a warm room. When the days get
longer, move them into a larger pot, and they will thank you for it with a new leaf within two weeks.`,

  `When the power failed, the whole house met on the stairs. The old lady from the third floor brought candles, the student had a
radio with batteries, and the family from the ground floor carried up everything that would have thawed in their freezer. Nobody had
ever talked for longer than a minute before. By ten in the evening we had eaten two kinds of soup and far too much ice cream, and a
game of cards was going on between people who did not know one another's names. The light came back at eleven. It was almost a pity.`,

  `Rain has a smell, or rather the ground has, when the first drops fall on it after a dry week. Plants give off an oil in dry
weather that settles on stones and earth. A drop that strikes it throws up tiny bubbles, and these carry the scent into the air. Some
people can tell from it, an hour ahead, that a shower is on its way, because the wind brings it from where it is raining already.
After a day of steady rain it is gone, and then the air smells of nothing but cold and wet leaves.`,
].map((paragraph) => paragraph.replaceAll("\n", " "));
