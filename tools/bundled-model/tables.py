"""The small world that the chats talk about: short tables of simple facts."""


def rows(text):
    """The non-empty lines of `text`, each split at its commas and stripped."""
    return [[cell.strip() for cell in line.split(",")] for line in text.strip().splitlines()]


# Country, capital, continent, language.
COUNTRIES = rows("""
France, Paris, Europe, French
Germany, Berlin, Europe, German
Italy, Rome, Europe, Italian
Spain, Madrid, Europe, Spanish
Portugal, Lisbon, Europe, Portuguese
England, London, Europe, English
Ireland, Dublin, Europe, English
Scotland, Edinburgh, Europe, English
Belgium, Brussels, Europe, Dutch
Austria, Vienna, Europe, German
Greece, Athens, Europe, Greek
Poland, Warsaw, Europe, Polish
Sweden, Stockholm, Europe, Swedish
Norway, Oslo, Europe, Norwegian
Denmark, Copenhagen, Europe, Danish
Finland, Helsinki, Europe, Finnish
Hungary, Budapest, Europe, Hungarian
Russia, Moscow, Europe, Russian
Ukraine, Kyiv, Europe, Ukrainian
Turkey, Ankara, Asia, Turkish
China, Beijing, Asia, Chinese
Japan, Tokyo, Asia, Japanese
India, New Delhi, Asia, Hindi
Thailand, Bangkok, Asia, Thai
Vietnam, Hanoi, Asia, Vietnamese
Iran, Tehran, Asia, Persian
Iraq, Baghdad, Asia, Arabic
South Korea, Seoul, Asia, Korean
Egypt, Cairo, Africa, Arabic
Morocco, Rabat, Africa, Arabic
Kenya, Nairobi, Africa, Swahili
Ghana, Accra, Africa, English
Canada, Ottawa, North America, English
Mexico, Mexico City, North America, Spanish
Cuba, Havana, North America, Spanish
Brazil, Brasilia, South America, Portuguese
Argentina, Buenos Aires, South America, Spanish
Peru, Lima, South America, Spanish
Chile, Santiago, South America, Spanish
Colombia, Bogota, South America, Spanish
""")

# Animal, kind, home, food, young, sound (the verb), legs, how it moves, size from 1 to 9.
ANIMALS = rows("""
cat, mammal, in a house, fish and mice, kitten, meow, four, run, 4
dog, mammal, in a house, meat, puppy, bark, four, run, 5
cow, mammal, on a farm, grass, calf, moo, four, walk, 7
horse, mammal, on a farm, grass and hay, foal, neigh, four, run, 7
sheep, mammal, on a farm, grass, lamb, bleat, four, walk, 5
pig, mammal, on a farm, almost everything, piglet, grunt, four, walk, 6
goat, mammal, on a farm, grass and leaves, kid, bleat, four, climb, 5
hen, bird, on a farm, grain, chick, cluck, two, walk, 3
duck, bird, on a pond, plants and small fish, duckling, quack, two, swim, 3
lion, mammal, in Africa, meat, cub, roar, four, run, 7
tiger, mammal, in the forests of Asia, meat, cub, roar, four, run, 7
bear, mammal, in the forest, fish and berries, cub, growl, four, climb, 7
wolf, mammal, in the forest, meat, cub, howl, four, run, 5
fox, mammal, in the forest, mice and berries, cub, bark, four, run, 4
elephant, mammal, in Africa and Asia, leaves and grass, calf, trumpet, four, walk, 8
mouse, mammal, in a small hole, grain and seeds, pup, squeak, four, run, 2
rabbit, mammal, in a burrow, grass and carrots, kit, squeak, four, jump, 3
frog, amphibian, near a pond, flies, tadpole, croak, four, jump, 2
bee, insect, in a hive, nectar from flowers, larva, buzz, six, fly, 1
owl, bird, in a hollow tree, mice, owlet, hoot, two, fly, 3
eagle, bird, in the mountains, fish and rabbits, eaglet, scream, two, fly, 4
snake, reptile, under stones, mice and frogs, , hiss, no, crawl, 3
whale, mammal, in the ocean, small sea animals, calf, sing, no, swim, 9
shark, fish, in the ocean, fish, pup, , no, swim, 7
salmon, fish, in rivers and in the sea, small fish, , , no, swim, 3
giraffe, mammal, in Africa, leaves, calf, , four, run, 8
monkey, mammal, in the trees, fruit, baby, chatter, four, climb, 4
penguin, bird, in the cold south, fish, chick, , two, swim, 4
spider, arachnid, in a web, flies, , , eight, crawl, 1
ant, insect, in a nest, sugar and seeds, larva, , six, crawl, 1
butterfly, insect, among flowers, nectar from flowers, caterpillar, , six, fly, 1
turtle, reptile, near the water, plants, , , four, swim, 3
camel, mammal, in the desert, dry plants, calf, grunt, four, walk, 7
kangaroo, mammal, in Australia, grass, joey, , four, jump, 6
deer, mammal, in the forest, leaves and grass, fawn, , four, run, 6
squirrel, mammal, in the trees, nuts, kit, chatter, four, climb, 3
""")

COLOURS = rows("""
red, a tomato, blood, a strawberry, a cherry, a fire engine
green, grass, a leaf, a frog, a cucumber, a lime
blue, the sky, the sea, a blueberry
yellow, a lemon, a banana, the sun, butter, corn
white, snow, milk, salt, a swan, rice
black, coal, a raven, the night
brown, chocolate, a potato, earth, coffee
orange, a carrot, an orange, a pumpkin
grey, an elephant, a rain cloud, ash
pink, a pig, a flamingo
purple, a plum, a grape, lavender
""")

OPPOSITES = [pair.split("/") for pair in """
hot/cold big/small good/bad fast/slow high/low long/short old/young new/old hard/soft
happy/sad light/dark heavy/light rich/poor strong/weak full/empty open/closed wet/dry
clean/dirty early/late loud/quiet thick/thin wide/narrow deep/shallow near/far left/right
up/down in/out on/off day/night black/white yes/no true/false first/last start/end
love/hate friend/enemy win/lose buy/sell give/take push/pull come/go ask/answer
laugh/cry remember/forget find/lose live/die begin/finish always/never everything/nothing
easy/difficult cheap/expensive safe/dangerous brave/afraid kind/cruel smooth/rough
sweet/sour sharp/dull tall/short inside/outside above/below before/after more/less
north/south east/west summer/winter morning/evening asleep/awake right/wrong
""".split()]

PLURALS = [pair.split("/") for pair in """
cat/cats dog/dogs house/houses book/books car/cars tree/trees box/boxes bus/buses
child/children man/men woman/women mouse/mice foot/feet tooth/teeth goose/geese
leaf/leaves knife/knives wolf/wolves baby/babies city/cities story/stories
fish/fish sheep/sheep person/people potato/potatoes key/keys day/days apple/apples
""".split()]

PASTS = [pair.split("/") for pair in """
go/went see/saw eat/ate come/came run/ran give/gave take/took find/found make/made
say/said tell/told think/thought know/knew write/wrote read/read sing/sang swim/swam
drink/drank buy/bought bring/brought sleep/slept keep/kept fly/flew grow/grew
walk/walked play/played look/looked help/helped work/worked open/opened love/loved
""".split()]

KINDS = rows("""
fruit, apple, banana, pear, orange, cherry, plum, grape, lemon
vegetable, carrot, potato, onion, cabbage, pea, bean
tool, hammer, saw, drill, spade
vehicle, car, bus, train, truck, bicycle
instrument, piano, guitar, violin, drum, flute
colour, red, blue, green, yellow, orange
drink, tea, coffee, milk, juice, water
metal, gold, silver, iron, copper
season, spring, summer, autumn, winter
planet, Mars, Venus, Jupiter, Saturn, Mercury
sport, football, tennis, swimming, chess
shape, circle, square, triangle
flower, rose, tulip, daisy, lily
tree, oak, pine, birch, maple
""")

USES = rows("""
a knife, cut things
a pen, write
a spoon, eat soup
a cup, drink
a broom, sweep the floor
a key, open a lock
a lamp, light a room
a clock, tell the time
a hammer, hit nails
a saw, cut wood
a needle, sew clothes
an oven, bake bread
a phone, talk to people far away
a bed, sleep
a chair, sit
a towel, dry your hands
soap, wash your hands
a map, find the way
a bag, carry things
an umbrella, keep dry in the rain
a ladder, climb to high places
a camera, take pictures
a computer, work with information
a browser, look at web pages
a fridge, keep food cold
scissors, cut paper
a brush, paint a picture
a boat, cross the water
glasses, see better
a telescope, look at the stars
""")

JOBS = rows("""
baker, bakes bread, in a bakery
teacher, helps children learn, in a school
doctor, helps sick people, in a hospital
farmer, grows food, on a farm
cook, makes meals, in a kitchen
pilot, flies planes, in the air
driver, drives a car or a bus, on the road
sailor, works on a ship, at sea
singer, sings songs, on a stage
painter, paints pictures, in a studio
writer, writes books, at a desk
nurse, cares for sick people, in a hospital
builder, builds houses, on a building site
gardener, looks after plants, in a garden
postman, brings letters, in the street
judge, decides what the law says, in a court
programmer, writes code, at a computer
scientist, studies how things work, in a laboratory
""")

NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen
fourteen fifteen sixteen seventeen eighteen nineteen twenty""".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = """January February March April May June July August September October November
December""".split()

GIRLS = """Anna Lily Emma Mia Sara Lucy Ella Nora Rosa Maria Jane Kate Eva Ida Zoe Amy
Clara Julia Olga Hana""".split()
BOYS = """Tom Ben Max Sam Leo Jack Paul Peter Adam Noah Finn Otto Hugo Carl David Mark
Ravi Omar Ivan Luca""".split()
SURNAMES = """Miller Smith Brown Green Baker Hill Wood King Stone Young Carter Fisher Weber
Rossi Novak Larsen Silva Singh Tanaka Lopez""".split()
PET_NAMES = "Milo Bella Rex Luna Coco Simba Daisy Rocky Pip Ginger Shadow Biscuit".split()
ADJECTIVES = "small big old new red blue green yellow white black brown heavy round soft".split()
OBJECTS = """ball book hat cup box kite bag coat lamp pen chair car boat clock shoe key map
drum bell basket""".split()
PLACES = """park school market forest barn library garden river kitchen village station
museum valley tower shop""".split()
FOODS = "apple pear sandwich cake soup cheese bread rice banana egg carrot cookie".split()
FEELINGS = "happy sad tired hungry angry afraid proud surprised cold".split()
PAINT = "red blue green yellow white black brown orange pink purple grey".split()
